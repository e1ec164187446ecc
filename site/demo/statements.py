"""The SQL that fills an account inside its shard: three INSERT … SELECT over a series of numbers.

The same statements run on PostgreSQL and on SQLite; what the engines write differently is in
`Dialect`. Everything about row i follows from (seed, account, i) by a linear congruential hash, so
a seed gives the same data on both engines, whenever and however often it is run.
"""

from dataclasses import dataclass

__all__ = ["KEY_WINDOW_MS", "POSTGRESQL", "SQLITE", "Dialect", "statements"]

# Each account's keys begin in a window of its own, 1,024 ms wide: room for 8.4 million rows of a
# table, in the past, where no live key is made.
KEY_WINDOW_MS = 1_024
INVITED_PERCENT = 12
PRIME = 2**31 - 1


@dataclass(frozen=True)
class Dialect:
    """How one engine writes a series, an element of a JSON list, and a time of seconds."""

    series: str
    text_at: str
    number_at: str
    time: str
    hexadecimal: str


POSTGRESQL = Dialect(
    series="generate_series(%(first)s::bigint, %(last)s::bigint) AS n(i)",
    text_at="(%({list})s::text[])[1 + {index}]",
    number_at="(%({list})s::bigint[])[1 + {index}]",
    time="to_timestamp({seconds})",
    hexadecimal="upper(lpad(to_hex({number}), {width}, '0'))",
)
SQLITE = Dialect(
    series=(
        "(WITH RECURSIVE n(i) AS (SELECT %(first)s UNION ALL "
        "SELECT i + 1 FROM n WHERE i < %(last)s) SELECT i FROM n) AS n"
    ),
    text_at="json_extract(%({list})s, '$[' || ({index}) || ']')",
    number_at="json_extract(%({list})s, '$[' || ({index}) || ']')",
    # As Django writes it: SQLite compares times as text.
    time="strftime('%%Y-%%m-%%d %%H:%%M:%%S', {seconds}, 'unixepoch')",
    hexadecimal="printf('%%0{width}X', {number})",
)


def _hash(salt: int, row: str = "i") -> str:
    """0 to PRIME - 1, by two rounds of a linear congruential generator; no product overflows."""
    start = f"({row} * 1103515245 + %(seed)s * 7919 + %(account)s * 104729 + {salt})"
    mixed = f"({start} %% {PRIME} * 48271 + {salt} * 69069)"
    return f"({mixed} %% {PRIME} * 16807 %% {PRIME})"


def _below(limit: int | str, salt: int) -> str:
    """A number from 0 to limit - 1."""
    return f"({_hash(salt)} / 1024 %% {limit})"


def _key(number: str) -> str:
    """The key of the account's n-th row of a table: see routers.keys for the layout."""
    window = f"(%(account)s * {KEY_WINDOW_MS} + (({number}) >> 13))"
    return f"(({window} << 22) | (%(shard_number)s << 13) | (({number}) & 8191))"


TAKEN = f"{_below(100, 1)} >= {INVITED_PERCENT}"
TEST = _below("%(tests)s", 2)
CREATED = "(%(began)s + i * %(span)s / %(sessions)s)"
STARTED = f"({CREATED} + 3600 + {_below(400_000, 3)})"
FINISHED = f"({STARTED} + 900 + {_below(4_000, 4)})"


def _correctness(task: int) -> str:
    """Per cent in steps of ten: the candidate's skill, give or take 30."""
    drawn = f"({_below(11, 5)} + {_below(7, 10 + task)} - 3)"
    return f"(CASE WHEN {drawn} < 0 THEN 0 WHEN {drawn} > 10 THEN 100 ELSE {drawn} * 10 END)"


def _performance(task: int) -> str:
    return f"({_correctness(task)} * {_below(5, 20 + task)} / 4)"


def _score(task: int) -> str:
    return f"(({_correctness(task)} + {_performance(task)}) / 2)"


def statements(dialect: Dialect) -> list[str]:
    """The INSERTs for rows `first` to `last` of an account, to be run in this order.

    Parameters: account, shard_number, seed, first, last, sessions (of the account), began and span
    (seconds), tests (how many), and the lists firsts, lasts, countries, test_ids, task_ids (three a
    test).
    """
    return [_candidates(dialect), _sessions(dialect), *(_answers(dialect, n) for n in range(3))]


def _candidates(dialect: Dialect) -> str:
    first = dialect.text_at.format(list="firsts", index=_below("%(firsts_count)s", 30))
    last = dialect.text_at.format(list="lasts", index=_below("%(lasts_count)s", 31))
    return f"""
        INSERT INTO assessments_candidate (id, account_id, email, name, created_at)
        SELECT {_key("i")}, %(account)s,
               lower({first}) || '.' || lower({last}) || '.' || i || '@example.org',
               {first} || ' ' || {last}, {dialect.time.format(seconds=CREATED)}
        FROM {dialect.series}"""


def _sessions(dialect: Dialect) -> str:
    def when_taken(value: str) -> str:
        return f"CASE WHEN {TAKEN} THEN {value} END"

    def time(seconds: str) -> str:
        return dialect.time.format(seconds=seconds)

    code = dialect.hexadecimal.format(number=f"({_hash(40)})", width=8)
    serial = dialect.hexadecimal.format(number="(i %% 65536)", width=4)
    scores = " + ".join(_score(task) for task in range(3))
    country = dialect.text_at.format(list="countries", index=_below("%(countries_count)s", 6))
    return f"""
        INSERT INTO assessments_testsession (
            id, account_id, code, test_id, candidate_id, country_id, status, created_at,
            started_at, finished_at, judged_at, score, maximum, similarity)
        SELECT {_key("i")}, %(account)s, {code} || {serial},
               {dialect.number_at.format(list="test_ids", index=TEST)}, {_key("i")},
               {when_taken(country)}, CASE WHEN {TAKEN} THEN 'closed' ELSE 'invited' END,
               {time(CREATED)}, {when_taken(time(STARTED))}, {when_taken(time(FINISHED))},
               {when_taken(time(f"({FINISHED} + 3)"))}, {when_taken(scores)},
               CASE WHEN {TAKEN} THEN 300 ELSE 0 END,
               CASE WHEN {TAKEN} AND {_below(10, 7)} < 4 THEN {_below(101, 8)} END
        FROM {dialect.series}"""


def _answers(dialect: Dialect, task: int) -> str:
    task_id = dialect.number_at.format(list="task_ids", index=f"({TEST} * 3 + {task})")
    submitted = dialect.time.format(seconds=f"({STARTED} + {300 * (task + 1)})")
    return f"""
        INSERT INTO assessments_answer (
            id, account_id, session_id, task_id, output, submitted_at, correctness, performance,
            score)
        SELECT {_key(f"i * 3 + {task}")}, %(account)s, {_key("i")}, {task_id}, '',
               {submitted}, {_correctness(task)}, {_performance(task)}, {_score(task)}
        FROM {dialect.series} WHERE {TAKEN}"""
