"""Candidates from a CSV file: good rows go in, bad ones come back by line, nothing is added twice.

The file has a header with the columns `email` and `name`, in any order and case, other columns
being ignored; separated by commas, semicolons or tabs; UTF-8, with or without a byte order mark.
"""

import csv
import io
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO, TextIO

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db.models import Exists, OuterRef

from assessments.models import Candidate, Test, TestSession
from routers import account_atomic

__all__ = ["ImportRefused", "ImportResult", "RejectedRow", "import_candidates"]

BATCH = 2_000
MAX_LINES = 20  # of one row, whose quoted cells may hold line ends
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
    records = _records(_decoded(lines), _dialect(lines))
    first = next(records, None)
    if first is not None and first.error:
        raise ImportRefused(f"The first line is not readable as CSV: {first.error}.")
    result.header = first.cells if first else []
    columns = _columns(result.header)
    seen: dict[str, int] = {}
    for record in records:
        try:
            row = _row(record, columns)
            _refuse_repeated(row, seen)
        except ValueError as error:
            cells = tuple(map(_readable, record.cells))
            result.rejected.append(RejectedRow(record.line, str(error), cells))
            continue
        seen[row.email] = record.line
        yield row


@dataclass(frozen=True)
class _Record:
    """One row of the file and the line on which it begins; or why it cannot be read."""

    line: int
    cells: list[str]
    error: str = ""


def _records(lines: Iterator[str], dialect: type[csv.Dialect]) -> Iterator[_Record]:
    """The rows of the file, blank ones left out.

    A row whose quotes are still open takes in the next line, up to MAX_LINES of them. Where they
    are never closed only the first of those lines is refused, and reading goes on behind it, so
    that a stray quote costs one row and not the rest of the file.
    """
    ahead: deque[str] = deque()
    number = 0
    while True:
        if not ahead and (line := next(lines, None)) is not None:
            ahead.append(line)
        if not ahead:
            return
        record, taken = _one_record(number + 1, ahead, lines, dialect)
        for _ in range(taken):
            ahead.popleft()
        number += taken
        if record.error or any(cell.strip() for cell in record.cells):
            yield record


def _one_record(
    number: int, ahead: deque[str], lines: Iterator[str], dialect: type[csv.Dialect]
) -> tuple[_Record, int]:
    """The record that begins with `ahead[0]`, and how many lines it takes."""
    for taken in range(1, MAX_LINES + 1):
        if len(ahead) < taken:
            more = next(lines, None)
            if more is None:
                break
            ahead.append(more)
        try:
            text = "".join(islice(ahead, taken))
            return _Record(number, next(csv.reader([text], dialect), [])), taken
        except csv.Error as error:
            if "unexpected end of data" not in str(error):
                return _Record(number, [ahead[0].rstrip()], str(error)), 1
    return _Record(number, [ahead[0].rstrip()], "a quote is opened and not closed"), 1


def _decoded(lines: BinaryIO) -> Iterator[str]:
    """The lines as text, whichever way they end.

    Bytes that are no UTF-8 stay visible as surrogates, for `_row` to refuse. Not a TextIOWrapper:
    it would read ahead, and `tell()` could not say how far the import is.
    """
    for number, line in enumerate(lines):
        text = line.decode("utf-8", errors="surrogateescape")
        text = text.removeprefix("\ufeff") if number == 0 else text
        yield from io.StringIO(text, newline=None)


def _dialect(lines: BinaryIO) -> type[csv.Dialect]:
    """The separator that occurs most often in the header. Leaves the file at its beginning."""
    start = lines.tell()
    header = lines.readline(65_536).decode("utf-8", errors="replace")
    lines.seek(start)

    class Found(csv.excel):
        delimiter = max(SEPARATORS, key=header.count)
        strict = True  # says so where a quote is not closed

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


def _row(record: _Record, columns: dict[str, int]) -> _Row:
    """Raises ValueError with the reason why the row cannot be taken."""
    if record.error:
        raise ValueError(f"not readable as CSV: {record.error}")
    cells = record.cells
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
    return _Row(record.line, _valid_email(email), " ".join(name.split()))


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
    """A session for each of these candidates who has none of this test yet.

    The candidates are locked first, so that two imports of one file take turns.
    """
    people = Candidate.objects.filter(email__in=emails)
    list(people.select_for_update().order_by("pk").values_list("pk"))
    sessions_of = TestSession.objects.filter(test=test, candidate=OuterRef("pk"))
    missing = people.filter(~Exists(sessions_of))
    sessions = [TestSession(test=test, candidate=candidate) for candidate in missing]
    return len(TestSession.objects.bulk_create(sessions))


def _write_rejected(rejects: TextIO, result: ImportResult) -> None:
    writer = csv.writer(rejects)
    writer.writerow(["line", "reason", *map(_readable, result.header)])
    writer.writerows([row.line, row.reason, *row.cells] for row in result.rejected)
