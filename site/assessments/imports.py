"""Candidates from a CSV file: good rows go in, bad ones come back by line, nothing is added twice.

The file has a header with the columns `email` and `name`, in any order and case, other columns
being ignored; separated by commas, semicolons or tabs; UTF-8, with or without a byte order mark.
"""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO, TextIO

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from assessments.models import Candidate, Test, TestSession
from routers import account_atomic

__all__ = ["ImportRefused", "ImportResult", "RejectedRow", "import_candidates"]

BATCH = 2_000
SEPARATORS = ",;\t"
COLUMNS = {"email": ("email", "e-mail", "mail"), "name": ("name", "full name", "candidate")}
MAX_NAME, MAX_EMAIL = 200, 254


class ImportRefused(Exception):
    """The file as a whole cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class RejectedRow:
    """A row that was not taken: the line on which it begins, the reason, its cells."""

    line: int
    reason: str
    cells: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The row for a person to read."""
        return ", ".join(self.cells)


@dataclass
class ImportResult:
    """Candidates added, sessions made, rows that were there already, and rows refused."""

    added: int = 0
    invited: int = 0
    unchanged: int = 0
    rejected: list[RejectedRow] = field(default_factory=list)
    header: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Row:
    line: int
    email: str
    name: str


def import_candidates(
    lines: BinaryIO,
    *,
    test: Test | None = None,
    rejects: TextIO | None = None,
    progress: Callable[[int], None] | None = None,
) -> ImportResult:
    """Add the file's candidates to the account in force and, with a test, invite each of them.

    `rejects` gets the refused rows as CSV, with their line and reason in two more columns in
    front: mended there, that file can be imported itself. `progress` gets the bytes
    read so far. Each 2,000 rows are one transaction, so an interrupted import can be run again.
    Raises ImportRefused where there is no usable header.
    """
    result = ImportResult()
    rows = _rows(lines, result)
    try:
        while batch := list(islice(rows, BATCH)):
            _store(batch, test, result)
            if progress:
                progress(lines.tell())
    finally:
        if rejects is not None and result.rejected:
            _write_rejected(rejects, result)
    return result


def _rows(lines: BinaryIO, result: ImportResult) -> Iterator[_Row]:
    """The usable rows; the others go to `result.rejected`, the header to `result.header`."""
    reader = csv.reader(_decoded(lines), dialect=_dialect(lines))
    result.header = next(reader, [])
    columns = _columns(result.header)
    seen: dict[str, int] = {}
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            result.rejected.append(RejectedRow(line, f"not readable as CSV: {error}"))
            continue
        if not any(cell.strip() for cell in cells):
            continue
        try:
            row = _row(line, cells, columns)
            _refuse_repeated(row, seen)
        except ValueError as error:
            result.rejected.append(RejectedRow(line, str(error), tuple(map(_readable, cells))))
            continue
        seen[row.email] = line
        yield row


def _decoded(lines: BinaryIO) -> Iterator[str]:
    """The lines as text. Bytes that are no UTF-8 stay visible as surrogates, for `_row` to refuse.

    Not a TextIOWrapper: it would read ahead, and `tell()` could not say how far the import is.
    """
    for number, line in enumerate(lines):
        text = line.decode("utf-8", errors="surrogateescape")
        yield text.removeprefix("\ufeff") if number == 0 else text


def _dialect(lines: BinaryIO) -> type[csv.Dialect]:
    """The separator that occurs most often in the header. Leaves the file at its beginning."""
    start = lines.tell()
    header = lines.readline(65_536).decode("utf-8", errors="replace")
    lines.seek(start)

    class Found(csv.excel):
        delimiter = max(SEPARATORS, key=header.count)

    return Found


def _columns(header: list[str]) -> dict[str, int]:
    names = [cell.strip().lower() for cell in header]
    found: dict[str, int] = {}
    for column, aliases in COLUMNS.items():
        for alias in aliases:
            if alias in names:
                found.setdefault(column, names.index(alias))
    missing = sorted(set(COLUMNS) - set(found))
    if missing:
        seen = _readable(", ".join(names)) or "nothing"
        raise ImportRefused(
            f"The first line must name the columns email and name. Missing: {', '.join(missing)}; "
            f"the line has: {seen[:200]}."
        )
    return found


def _row(line: int, cells: list[str], columns: dict[str, int]) -> _Row:
    """Raises ValueError with the reason why the row cannot be taken."""
    if len(cells) <= max(columns.values()):
        raise ValueError(f"{len(cells)} columns where the header has more")
    email, name = (cells[columns[column]].strip() for column in ("email", "name"))
    if _readable(email + name) != email + name:
        raise ValueError("not UTF-8 text; save the file as UTF-8")
    if "\0" in email + name:
        raise ValueError("contains a NUL character")
    if not name:
        raise ValueError("the name is empty")
    if len(name) > MAX_NAME:
        raise ValueError(f"the name has {len(name)} characters; {MAX_NAME} are the most")
    return _Row(line, _valid_email(email), " ".join(name.split()))


def _valid_email(email: str) -> str:
    if not email:
        raise ValueError("the e-mail address is empty")
    if len(email) > MAX_EMAIL:
        raise ValueError(f"the e-mail address has more than {MAX_EMAIL} characters")
    try:
        validate_email(email)
    except ValidationError:
        raise ValueError(f"{email!r} is not an e-mail address") from None
    return email.lower()


def _refuse_repeated(row: _Row, seen: dict[str, int]) -> None:
    if row.email in seen:
        raise ValueError(f"{row.email} stands already in line {seen[row.email]}")


def _readable(text: str) -> str:
    return text.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="replace")


def _store(batch: list[_Row], test: Test | None, result: ImportResult) -> None:
    """One transaction: the new candidates of the batch, and their invitations."""
    emails = [row.email for row in batch]
    with account_atomic():
        known = set(Candidate.objects.filter(email__in=emails).values_list("email", flat=True))
        new = [Candidate(email=r.email, name=r.name) for r in batch if r.email not in known]
        # Another import of the same file may be at work: what it has added is not an error.
        Candidate.objects.bulk_create(new, ignore_conflicts=True)
        invited = _invite(emails, test) if test else 0
    result.added += len(new)
    result.unchanged += len(known)
    result.invited += invited


def _invite(emails: list[str], test: Test) -> int:
    """A session for each of these candidates who has none of this test yet."""
    have_one = TestSession.objects.filter(test=test).values("candidate_id")
    missing = Candidate.objects.filter(email__in=emails).exclude(pk__in=have_one)
    sessions = [TestSession(test=test, candidate=candidate) for candidate in missing]
    return len(TestSession.objects.bulk_create(sessions))


def _write_rejected(rejects: TextIO, result: ImportResult) -> None:
    writer = csv.writer(rejects)
    writer.writerow(["line", "reason", *map(_readable, result.header)])
    writer.writerows([row.line, row.reason, *row.cells] for row in result.rejected)
