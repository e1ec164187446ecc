"""What is kept comes back as it was, or not at all."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from caching.codec import NotPlain, dump, load, pack_column, unpack_column
from caching.shapes import NotUnderstood, plain, tables_in

TEXT = some.text(max_size=20)
JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | TEXT,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
COLUMNS = [
    some.integers() | some.floats(allow_nan=False) | TEXT | some.binary(max_size=9),
    some.datetimes(timezones=some.just(UTC)).map(lambda moment: moment.replace(fold=0)),
    some.datetimes().map(lambda moment: moment.replace(fold=0)),
    some.dates(),
    some.times().map(lambda clock: clock.replace(fold=0)),
    some.timedeltas(),
    some.decimals(allow_nan=False),
    some.uuids(),
    JSON,
]


@settings(deadline=None, suppress_health_check=list(HealthCheck))  # of a busy machine
@given(some.one_of([some.lists(some.none() | kind, min_size=1, max_size=6) for kind in COLUMNS]))
def test_a_column_comes_back_as_it_was(values: list[Any]) -> None:
    try:
        kind, column = pack_column(values)
    except NotPlain:
        pytest.fail("a plain column was refused")
    kept = load(dump([kind, column], "key"), "key")
    found = list(unpack_column(*kept, len(values)))
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


class Money(int):
    pass


ODD = [
    Money(3),
    object(),
    {1, 2},
    (1, 2),
    memoryview(b"x"),
    {1: 2},
    datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    time(1, tzinfo=UTC),
    [Money(3)],
]


@pytest.mark.parametrize("value", ODD)
def test_what_is_not_plain_is_not_kept(value: Any) -> None:
    with pytest.raises(NotPlain):
        pack_column([None, value])
    with pytest.raises(NotPlain):
        pack_column([value, "x", b"y", Decimal(1)])


def test_only_what_this_site_has_written_for_that_key_is_read() -> None:
    payload = dump(["x"] * 3000, "key")
    assert len(payload) < 500, "it is compressed"
    assert load(payload, "key") == ["x"] * 3000
    for strange in (payload[:-1] + b"?", payload[1:], b"", b"x" * 40, payload[:16]):
        with pytest.raises(NotPlain):
            load(strange, "key")
    with pytest.raises(NotPlain):
        load(payload, "another key")


def test_values_that_differ_are_told_apart() -> None:
    values: list[Any] = [
        1,
        True,
        1.0,
        "1",
        b"1",
        None,
        "None",
        Decimal(1),
        (1,),
        ("1",),
        ((1,),),
        (),
    ]
    values += [date(2026, 1, 1), datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC)]
    values += [UUID(int=1), timedelta(1), slice(1, 2), "1, 2", (1, 2)]
    told = [repr(plain(value)) for value in values]
    assert len(set(told)) == len(values)
    hour = timezone(timedelta(hours=1))
    assert plain(datetime(2026, 1, 1, 1, tzinfo=hour)) == plain(datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(NotUnderstood):
        plain(object())


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ('SELECT "a"."x" FROM "a"', {"a"}),
        ('SELECT 1 FROM "a" INNER JOIN "b" T3 ON (1=1) LEFT OUTER JOIN "c" ON (1=1)', set("abc")),
        (
            'SELECT COUNT(*) FROM (SELECT 1 FROM "a" WHERE EXISTS(SELECT 1 FROM "b" U0)) s',
            set("ab"),
        ),
        ('SELECT NOW() FROM "a"', None),
        ('SELECT "a"."x" FROM "a" ORDER BY RANDOM()', None),
        ('SELECT 1 FROM "a", "b"', None),
        ('SELECT 1 FROM "a" U0 , b', None),
        ("SELECT 1 FROM a", None),
        ("SELECT 1 FROM generate_series(1, 2)", None),
        ("SELECT 1", None),
    ],
)
def test_the_tables_of_a_query(sql: str, tables: set[str] | None) -> None:
    assert tables_in(sql) == tables
