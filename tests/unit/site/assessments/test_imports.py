"""Ten broken inputs and more: what each says, and that the good rows go in."""

import io
from typing import Any

import pytest

from assessments.imports import ImportRefused, ImportResult, import_candidates
from assessments.models import Candidate, Test, TestSession

pytestmark = pytest.mark.usefixtures("inside")
HEADER = b"name,email\n"


def load(text: bytes, **options: Any) -> ImportResult:
    return import_candidates(io.BytesIO(text), **options)


def stored() -> dict[str, str]:
    return dict(Candidate.objects.values_list("email", "name"))


@pytest.mark.parametrize(
    "text",
    [
        b"name,email\nAda,ada@x.org\nBo,bo@x.org\n",
        b"\xef\xbb\xbfname,email\r\nAda,ada@x.org\r\nBo,bo@x.org\r\n",
        b"E-Mail;Full Name;Note\nADA@x.org;Ada;hello\nbo@x.org; Bo ;\n",
        b"name\temail\nAda\tada@x.org\n\n\nBo\tbo@x.org",
        b'"name","email"\n"Ada","ada@x.org"\n"Bo","bo@x.org"\n',
    ],
    ids=["plain", "bom and crlf", "semicolons and other columns", "tabs and blank lines", "quoted"],
)
def test_files_as_people_have_them(text: bytes) -> None:
    result = load(text)
    assert (result.added, result.rejected) == (2, [])
    assert stored() == {"ada@x.org": "Ada", "bo@x.org": "Bo"}


def test_stray_quote_costs_one_row() -> None:
    rows = [b"P%d,p%d@x.org\n" % (n, n) for n in range(3_000)]
    rows[100] = b'"' + rows[100]
    result = load(HEADER + b"".join(rows))
    assert (result.added, [row.line for row in result.rejected]) == (2_999, [102])


def test_old_line_ends_are_read() -> None:
    assert load(b"name,email\rAda,ada@x.org\rBo,bo@x.org\r").added == 2


def test_quoted_newline_is_one_row_and_line_numbers_stay_right() -> None:
    result = load(HEADER + b'"Ada\nLovelace",ada@x.org\nBo,nonsense\n')
    assert stored() == {"ada@x.org": "Ada Lovelace"}
    assert [(row.line, row.text) for row in result.rejected] == [(4, "Bo, nonsense")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"Ada,nonsense", "'nonsense' is not an e-mail address"),
        (b"Ada,", "the e-mail address is empty"),
        (b",ada@x.org", "the name is empty"),
        (b"Ada", "1 columns where the header has more"),
        (b"\xff\xfe,ada@x.org", "not UTF-8 text; save the file as UTF-8"),
        (b"A\0da,ada@x.org", "contains a NUL character"),
        (b"A" * 201 + b",ada@x.org", "the name has 201 characters; 200 are the most"),
        (b"Ada," + b"a" * 250 + b"@x.org", "the e-mail address has more than 254 characters"),
        (b"Bo again,BO@x.org", "bo@x.org stands already in line 2"),
        (b'"' + b"A" * 200_000 + b'",ada@x.org', "not readable as CSV: field larger than"),
        (b'"Ada,ada@x.org', "not readable as CSV: a quote is opened and not closed"),
        (b'"Ada" Lovelace,ada@x.org', "not readable as CSV: ',' expected after"),
    ],
)
def test_bad_row_is_reported_by_line_and_the_good_ones_go_in(row: bytes, reason: str) -> None:
    result = load(HEADER + b"Bo,bo@x.org\n" + row + b"\nCy,cy@x.org\n")
    assert [found.line for found in result.rejected] == [3]
    assert result.rejected[0].reason.startswith(reason)
    assert sorted(stored()) == ["bo@x.org", "cy@x.org"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "Missing: email, name; the line has: nothing"),
        (b"name,phone\nAda,1\n", "Missing: email; the line has: name, phone"),
        (b"Ada,ada@x.org\n", "Missing: email, name; the line has: ada, ada@x.org"),
        (b"PK\x03\x04\x14\x00\x06\x00", "Missing: email, name"),
        (b'"name,email\nAda,ada@x.org\n', "first line is not readable as CSV: a quote is opened"),
        (
            b"name,email," + b"x" * 200_000 + b"\n",
            "first line is not readable as CSV: field larger",
        ),
    ],
    ids=["empty", "a column missing", "no header", "a spreadsheet", "open quote", "huge header"],
)
def test_unusable_file_is_refused_and_nothing_goes_in(text: bytes, message: str) -> None:
    with pytest.raises(ImportRefused, match=message):
        load(text)
    assert stored() == {}


def test_twice_adds_nothing_twice(screening: Test) -> None:
    text = HEADER + b"Ada,ada@x.org\nBo,bo@x.org\n"
    first, second = load(text, test=screening), load(text, test=screening)
    assert (first.added, first.unchanged, first.invited) == (2, 0, 2)
    assert (second.added, second.unchanged, second.invited) == (0, 2, 0)
    assert (Candidate.objects.count(), TestSession.objects.count()) == (2, 2)


def test_rejected_rows_make_a_file_that_can_be_mended_and_imported() -> None:
    rejects = io.StringIO()
    load(b"name;email\nAda;nonsense\n", rejects=rejects)
    assert rejects.getvalue().splitlines() == [
        "line,reason,name,email",
        "2,'nonsense' is not an e-mail address,Ada,nonsense",
    ]
    mended = rejects.getvalue().replace("nonsense\r\n", "ada@x.org\r\n")
    assert load(mended.encode()).added == 1


def test_large_file_is_stored_in_batches(django_assert_max_num_queries: Any) -> None:
    rows = b"".join(b"P%d,p%d@x.org\n" % (n, n) for n in range(4_500))
    seen: list[int] = []
    result = load(HEADER + rows, progress=seen.append)
    assert (result.added, Candidate.objects.count()) == (4_500, 4_500)
    assert len(seen) == 3
    assert seen[-1] == len(HEADER + rows)
