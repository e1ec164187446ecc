"""Keeps a shard's copies what they are: written by replication, and whole while rows refer to them.

Two triggers on each copy. One refuses every ordinary write; PostgreSQL does not fire it for the
process that applies replication. The other fires only there. A row that the catalog deleted while
an insert on this shard began to refer to it stays (the insert's lock makes the two take turns), and
`manage.py reference check` names it: the foreign key itself is not looked at when replication
deletes. A row that the catalog inserts takes the place of one that has its key already, which would
otherwise stop replication.
"""

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from routers.placement import reference_models, sharded_models

__all__ = ["protect_copies"]

REFUSE, KEEP = "routers_refuse_write", "routers_keep_used"

# An apply worker's search_path is empty: names are qualified by the table's own schema.
FUNCTIONS = """
CREATE OR REPLACE FUNCTION routers_refuse_write() RETURNS trigger LANGUAGE plpgsql AS $guard$
BEGIN
    IF current_setting('routers.carrying', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% is a copy, carried here from the catalog', TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Write it in the catalog. Mend a copy with: manage.py reference repair';
END $guard$;
CREATE OR REPLACE FUNCTION routers_keep_used() RETURNS trigger LANGUAGE plpgsql AS $guard$
DECLARE used boolean;
BEGIN
    IF TG_OP = 'INSERT' THEN
        EXECUTE format('DELETE FROM %I.%I WHERE %I = ($1).%I',
                       TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_ARGV[0], TG_ARGV[0]) USING NEW;
        RETURN NEW;
    ELSIF pg_trigger_depth() > 1 THEN
        RETURN OLD; -- by the line above
    END IF;
    FOR i IN 1 .. TG_NARGS - 1 BY 3 LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %I.%I WHERE %I = ($1).%I)', TG_TABLE_SCHEMA,
                       TG_ARGV[i], TG_ARGV[i + 1], TG_ARGV[i + 2]) INTO used USING OLD;
        IF used THEN
            RAISE WARNING '% in % was deleted in the catalog and is in use here: it stays',
                OLD, TG_TABLE_NAME;
            RETURN NULL;
        END IF;
    END LOOP;
    RETURN OLD;
END $guard$;
"""
ON_WRITE = """
CREATE OR REPLACE TRIGGER {name} BEFORE INSERT OR UPDATE OR DELETE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION {name}();
"""
ON_APPLY = """
CREATE OR REPLACE TRIGGER {name} BEFORE INSERT OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION {name}({arguments});
ALTER TABLE {table} ENABLE REPLICA TRIGGER {name};
"""


def protect_copies(connection: BaseDatabaseWrapper) -> None:
    """Install the guards on a shard, and take them off tables that are no copies any more.

    As the tables' owner, after every migration; on PostgreSQL only.
    """
    if connection.vendor != "postgresql":
        return
    there = set(connection.introspection.table_names())
    copies = [model for model in reference_models() if model._meta.db_table in there]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, t.tgname, encode(t.tgargs, 'escape') FROM pg_trigger t"
            " JOIN pg_class c ON c.oid = t.tgrelid"
            " WHERE t.tgname IN (%s, %s) AND c.relnamespace = current_schema()::regnamespace",
            [REFUSE, KEEP],
        )
        found = {(table, name): arguments for table, name, arguments in cursor.fetchall()}
        cursor.execute(FUNCTIONS)
        for table, name in found:
            if table not in {model._meta.db_table for model in copies}:
                cursor.execute(f'DROP TRIGGER {name} ON "{table}"')
        for model in copies:
            _protect(cursor, model, there, found)


def _protect(
    cursor: object, model: type[models.Model], there: set[str], found: dict[tuple[str, str], str]
) -> None:
    """Only what is missing: to make a trigger takes a lock that waits for every writer."""
    table, users = model._meta.db_table, [str(model._meta.pk.column), *_users(model, there)]
    execute = cursor.execute  # type: ignore[attr-defined]
    if (table, REFUSE) not in found:
        execute(ON_WRITE.format(name=REFUSE, table=f'"{table}"'))
    if found.get((table, KEEP)) != "".join(f"{name}\\000" for name in users):
        arguments = ", ".join(f"'{name}'" for name in users)
        execute(ON_APPLY.format(name=KEEP, table=f'"{table}"', arguments=arguments))


def _users(model: type[models.Model], there: set[str]) -> list[str]:
    """Table, column and the column it names, of each sharded foreign key to the model; flat."""
    names: list[str] = []
    for sharded in (one for one in sharded_models() if one._meta.db_table in there):
        for field in sharded._meta.local_concrete_fields:
            if isinstance(field, models.ForeignKey) and field.related_model is model:
                target = field.target_field.column
                names += [sharded._meta.db_table, str(field.column), str(target)]
    return names
