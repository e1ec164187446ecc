"""Giving a shard its tables, functions and triggers of ownership, after every migration."""

from collections.abc import Iterable

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from routers.direct import LOCK_CLASS
from routers.ownership.sql import FUNCTIONS, OPEN_FUNCTIONS, TABLES, TRIGGERS
from routers.ownership.states import COMPILING, LOCK_SPACE, MOVED_ELSEWHERE, MOVING, NOT_HERE

__all__ = ["install"]


def install(connection: BaseDatabaseWrapper, wanted: Iterable[type[models.Model]]) -> None:
    """As the tables' owner; on PostgreSQL only. What the shard was told stays as it is."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute(TABLES)
        if not _knows_open_slots(cursor):
            cursor.execute(OPEN_FUNCTIONS.format())
        cursor.execute("SELECT quote_ident(current_schema())")
        cursor.execute(
            FUNCTIONS.format(
                schema=cursor.fetchone()[0],
                lock_class=LOCK_CLASS,
                compiling=COMPILING,
                lock_space=LOCK_SPACE,
                moving=MOVING,
                moved=MOVED_ELSEWHERE,
                not_here=NOT_HERE,
            )
        )
        _install_triggers(cursor, {model._meta.db_table for model in wanted})


def _knows_open_slots(cursor: CursorWrapper) -> bool:
    """Whether this very schema has the constants: never take back what was compiled."""
    cursor.execute(
        "SELECT EXISTS (SELECT FROM pg_proc WHERE proname = 'routers_open_accounts'"
        " AND pronamespace = current_schema()::regnamespace)"
    )
    return bool(cursor.fetchone()[0])


def _install_triggers(cursor: CursorWrapper, tables: set[str]) -> None:
    """Only what is missing: to make a trigger takes a lock that waits for every writer."""
    cursor.execute(
        "SELECT relname, tgname FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid"
        " WHERE tgname = ANY (%s) AND relnamespace = current_schema()::regnamespace",
        [list(TRIGGERS)],
    )
    found = set(cursor.fetchall())
    for table, name in sorted(found):
        if table not in tables:
            cursor.execute(f'DROP TRIGGER {name} ON "{table}"')
    for name, events in TRIGGERS.items():
        for table in sorted(tables - {table for table, there in found if there == name}):
            function = name.replace("routers_owner_", "routers_guard_")
            cursor.execute(
                f'CREATE TRIGGER {name} BEFORE {events} ON "{table}"'
                f" FOR EACH ROW EXECUTE FUNCTION {function}()"
            )
