"""The database's own guard: a row refers to rows of its own account, and never changes account.

Python sees relations by object; a bare id (`order_id=7`) only the database can judge. A foreign
key over (account_id, fk) would say the same, but PostgreSQL plans its check once, perhaps while the
tables are empty, and may then walk an index over the whole account for every row. These triggers
look the row up by its primary key, whatever the statistics: once a statement for INSERT, and for
UPDATE only where a reference or the account changed.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper, truncate_name

from routers.guards import LINK_REFUSED
from routers.placement import is_sharded

__all__ = ["install", "links"]

PREFIX = "routers_links_"

# `new_rows` is all rows of an INSERT, or the one of an UPDATE. A scalar subquery is never turned
# into a join: it stays one probe of the primary key a row.
POSTGRESQL_LINK = """
    SELECT r."{column}"::text INTO stray FROM {rows} r WHERE r."{column}" IS NOT NULL AND
        (SELECT p.account_id FROM "{parent}" p WHERE p."{key}" = r."{column}")
        IS DISTINCT FROM r.account_id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '{refused} {table}.{column} names %, which is no row of this account in '
            '{parent}', stray USING ERRCODE = 'integrity_constraint_violation';
    END IF;"""

POSTGRESQL = """
CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $guard$
DECLARE stray text;
BEGIN
IF TG_OP = 'INSERT' THEN{on_insert}
    RETURN NULL;
END IF;
IF NEW.account_id <> OLD.account_id THEN
    RAISE EXCEPTION '{refused} a row of {table} never changes its account_id'
        USING ERRCODE = 'integrity_constraint_violation';
END IF;{on_update}
RETURN NULL;
END $guard$;
{insert_trigger}
CREATE OR REPLACE TRIGGER {name}_update AFTER UPDATE ON "{table}" FOR EACH ROW
    WHEN ({changed}) EXECUTE FUNCTION {name}();
"""
POSTGRESQL_INSERT = """CREATE OR REPLACE TRIGGER {name}_insert AFTER INSERT ON "{table}"
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION {name}();"""

SQLITE = """
CREATE TRIGGER {name} AFTER {event} ON "{table}" WHEN {when}
BEGIN SELECT RAISE(ABORT, '{refused} {what}'); END
"""
SQLITE_ACCOUNT = '(SELECT account_id FROM "{parent}" WHERE "{key}" = NEW."{column}")'


def links(model: type[models.Model]) -> list[Any]:
    """The model's foreign keys to sharded models."""
    return [
        field
        for field in model._meta.local_concrete_fields
        if isinstance(field, models.ForeignKey) and is_sharded(field.related_model)
    ]


def install(connection: BaseDatabaseWrapper, wanted: Iterable[type[models.Model]]) -> None:
    """Give each model's table its triggers, and drop those of tables that are gone.

    Changes nothing twice: on PostgreSQL a digest in the function's comment says what is there.
    """
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            _install_on_postgresql(cursor, {_name(model): model for model in wanted})
        else:
            _install_on_sqlite(cursor, wanted)


def _name(model: type[models.Model]) -> str:
    return truncate_name(PREFIX + model._meta.db_table, 55)


def _install_on_postgresql(cursor: CursorWrapper, wanted: dict[str, type[models.Model]]) -> None:
    cursor.execute(
        "SELECT proname, obj_description(oid, 'pg_proc'),"
        " EXISTS (SELECT FROM pg_trigger WHERE tgfoid = pg_proc.oid)"
        " FROM pg_proc WHERE proname LIKE %s AND pronamespace = current_schema()::regnamespace",
        [PREFIX.replace("_", r"\_") + "%"],
    )
    found = cursor.fetchall()
    there = {name: digest for name, digest, used in found if used}
    for name, model in wanted.items():
        sql = _postgresql(name, model)
        digest = hashlib.md5(sql.encode(), usedforsecurity=False).hexdigest()
        if there.get(name) != digest:
            cursor.execute(f"{sql} COMMENT ON FUNCTION {name}() IS '{digest}'")
    for name in {name for name, _, used in found if not used} - wanted.keys():
        cursor.execute(f"DROP FUNCTION {name}()")


def _postgresql(name: str, model: type[models.Model]) -> str:
    table, fields = model._meta.db_table, links(model)
    changed = ["account_id", *(field.column for field in fields)]
    names = {"name": name, "table": table, "refused": LINK_REFUSED}
    return POSTGRESQL.format(
        **names,
        on_insert="".join(_postgresql_link(field, "new_rows") for field in fields),
        on_update="".join(_postgresql_link(field, "(SELECT NEW.*)") for field in fields),
        insert_trigger=POSTGRESQL_INSERT.format(**names) if fields else "",
        changed=" OR ".join(
            f'OLD."{column}" IS DISTINCT FROM NEW."{column}"' for column in changed
        ),
    )


def _postgresql_link(field: Any, rows: str) -> str:
    return POSTGRESQL_LINK.format(
        rows=rows,
        column=field.column,
        table=field.model._meta.db_table,
        parent=field.related_model._meta.db_table,
        key=field.target_field.column,
        refused=LINK_REFUSED,
    )


def _install_on_sqlite(cursor: CursorWrapper, wanted: Iterable[type[models.Model]]) -> None:
    cursor.execute(
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE %s", [f"{PREFIX}%"]
    )
    for (name,) in cursor.fetchall():
        cursor.execute(f'DROP TRIGGER "{name}"')
    for model in wanted:
        for number, (event, when, what) in enumerate(_sqlite_rules(model)):
            cursor.execute(
                SQLITE.format(
                    name=f"{_name(model)}_{number}",
                    event=event,
                    table=model._meta.db_table,
                    when=when,
                    what=what,
                    refused=LINK_REFUSED,
                )
            )


def _sqlite_rules(model: type[models.Model]) -> Iterator[tuple[str, str, str]]:
    """(event, condition, what is wrong) of each trigger."""
    table = model._meta.db_table
    changed = "NEW.account_id <> OLD.account_id"
    yield "UPDATE OF account_id", changed, f"a row of {table} never changes its account_id"
    for field in links(model):
        column, parent = field.column, field.related_model._meta.db_table
        account = SQLITE_ACCOUNT.format(parent=parent, key=field.target_field.column, column=column)
        stray = f'NEW."{column}" IS NOT NULL AND {account} IS NOT NEW.account_id'
        for event in ("INSERT", f'UPDATE OF "{column}"'):
            yield event, stray, f"{table}.{column} names no row of this account in {parent}"
