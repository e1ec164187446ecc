"""Two sessions and one account: what a mover does, committed, under a writer's eyes.

Only accounts' rows are committed, and taken away again. On PostgreSQL, through PgBouncer.
"""

import io
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from django.db import connections

from routers.ownership import changing
from routers.ownership.guard import refusal
from routers.ownership.states import MOVED_ELSEWHERE, MOVING, State
from routers.shard_map import SLOTS

SHARD, OTHER, ACCOUNT, NEIGHBOUR = "shard01", "shard02", 97_001, 97_001 + SLOTS
INSERT = "INSERT INTO shop_order (account_id, title) VALUES (%s, 'a race')"
SERIALIZATION_FAILURE = "40001"
pytestmark = [
    pytest.mark.skipif(connections[SHARD].vendor != "postgresql", reason="needs two sessions"),
    pytest.mark.django_db(databases=[]),  # no test's transaction: others must see what is done
]


def connect() -> Any:
    """A connection of the application's, past Django."""
    given = connections[SHARD].get_connection_params()
    names = ("host", "port", "dbname", "user", "password")
    return psycopg2.connect(**{name: given[name] for name in names})


@pytest.fixture
def writer() -> Iterator[Any]:
    """A session that has written before, so that it has its plans, and the constants in them."""
    with closing(connect()) as connection:
        cursor = connection.cursor()
        for account in (ACCOUNT, NEIGHBOUR) * 3:
            cursor.execute(INSERT, [account])
        connection.commit()
        yield connection


@pytest.fixture
def mover() -> Iterator[Any]:
    with closing(connect()) as connection:
        yield connection
        connection.rollback()
        cursor = connection.cursor()
        cursor.execute("DELETE FROM routers_owner_account")
        changing.compile_open(cursor)
        cursor.execute("DELETE FROM routers_owner_captured WHERE account_id = %s", [ACCOUNT])
        cursor.execute("DELETE FROM shop_order WHERE title = 'a race'")
        connection.commit()


def set_state(mover: Any, state: State) -> None:
    moved_to = OTHER if state is State.MOVED else None
    changing.set_account(mover.cursor(), ACCOUNT, state, moved_to)
    mover.commit()


def code(connection: Any, sql: str = INSERT, account: int = ACCOUNT) -> str | None:
    """The SQLSTATE with which it is refused; None where it is done."""
    try:
        connection.cursor().execute(sql, [account])
    except psycopg2.Error as error:
        connection.rollback()
        return error.pgcode
    connection.commit()
    return None


def test_a_warm_session_sees_a_change_at_its_next_transaction(writer: Any, mover: Any) -> None:
    assert code(writer) is None
    set_state(mover, State.CAPTURED)
    assert code(writer) is None
    set_state(mover, State.MOVED)
    assert code(writer) == MOVED_ELSEWHERE
    assert code(writer, account=NEIGHBOUR) is None


def test_a_fence_refuses_at_once_and_neighbours_write_on(writer: Any, mover: Any) -> None:
    set_state(mover, State.CAPTURED)
    changing.fence(mover.cursor(), ACCOUNT)
    assert code(writer) == MOVING
    assert code(writer, account=NEIGHBOUR) is None
    mover.rollback()
    assert code(writer) is None


def test_a_fence_waits_for_the_accounts_writers_only(writer: Any, mover: Any) -> None:
    set_state(mover, State.CAPTURED)
    writer.cursor().execute(INSERT, [NEIGHBOUR])
    changing.fence(mover.cursor(), ACCOUNT)
    mover.rollback()
    writer.cursor().execute(INSERT, [ACCOUNT])
    with pytest.raises(psycopg2.errors.LockNotAvailable):
        changing.fence(mover.cursor(), ACCOUNT, milliseconds=50)


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_writer_with_an_old_snapshot_is_refused(writer: Any, mover: Any, level: str) -> None:
    set_state(mover, State.CAPTURED)
    writer.set_session(isolation_level=level)
    writer.cursor().execute("SELECT 1 FROM shop_order LIMIT 1")  # its snapshot
    set_state(mover, State.MOVED)
    assert code(writer) == SERIALIZATION_FAILURE
    assert code(writer) == MOVED_ELSEWHERE


def test_who_began_before_a_change_is_known_until_it_ends(writer: Any, mover: Any) -> None:
    writer.cursor().execute(INSERT, [ACCOUNT])
    set_state(mover, State.CAPTURED)
    earlier = changing.transactions(mover.cursor())
    assert len(changing.still_open(mover.cursor(), earlier)) == 1
    mover.commit()
    writer.cursor().execute(INSERT, [ACCOUNT])  # passes still, and is not noted
    writer.commit()
    assert code(writer) is None
    assert changing.still_open(mover.cursor(), earlier) == set()
    cursor = mover.cursor()
    cursor.execute("SELECT count(*) FROM routers_owner_captured WHERE account_id = %s", [ACCOUNT])
    assert cursor.fetchone()[0] >= 1


def test_single_statements_and_copy_are_refused_past_django(writer: Any, mover: Any) -> None:
    set_state(mover, State.MOVED)
    writer.autocommit = True
    assert code(writer) == MOVED_ELSEWHERE
    assert code(writer, "UPDATE shop_order SET title = 'y' WHERE account_id = %s") == "FU002"
    assert code(writer, "DELETE FROM shop_order WHERE account_id = %s") == "FU002"
    rows = io.StringIO(f"{ACCOUNT}\tx\n")
    with pytest.raises(psycopg2.Error) as info:
        writer.cursor().copy_expert("COPY shop_order (account_id, title) FROM STDIN", rows)
    error = refusal(info.value, SHARD, ACCOUNT)
    assert (info.value.pgcode, error.new_shard) == (MOVED_ELSEWHERE, OTHER)  # type: ignore[union-attr]


def test_a_stale_process_is_refused_each_time(writer: Any, mover: Any) -> None:
    set_state(mover, State.MOVED)
    assert {code(writer) for _ in range(500)} == {MOVED_ELSEWHERE}
    cursor = mover.cursor()
    cursor.execute("SELECT count(*) FROM shop_order WHERE account_id = %s", [ACCOUNT])
    assert cursor.fetchone()[0] == 3


def test_a_savepoint_takes_the_look_back_with_its_lock(writer: Any, mover: Any) -> None:
    cursor = mover.cursor()
    changing.set_account(cursor, ACCOUNT + 2 * SLOTS, State.MOVED, OTHER)  # so it is looked up
    mover.commit()
    inside = writer.cursor()
    inside.execute("SAVEPOINT one")
    inside.execute(INSERT, [ACCOUNT])
    inside.execute(INSERT, [ACCOUNT])
    with pytest.raises(psycopg2.errors.LockNotAvailable):
        changing.fence(cursor, ACCOUNT, milliseconds=50)
    mover.rollback()
    inside.execute("ROLLBACK TO one")
    changing.fence(cursor, ACCOUNT)
    assert code(writer) == MOVING
