"""Drift: the real schema of every database against the models of this code.

What is expected is made, not remembered: in a transaction that is rolled back, the tables of that
database's models, and the library's functions and triggers, are created beside the real ones in a
schema of their own (on SQLite in a database in memory), and both are read from the system catalogs.
"""

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial

from django.apps import apps
from django.db import Error, connections, models, router, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState

from routers import schema
from routers.conf import CATALOG
from routers.exceptions import RoutingError
from routers.migrating.applying import left
from routers.migrating.schema_facts import Fact, read_schema

__all__ = ["Finding", "find_drift"]

ERROR, WARNING = "error", "warning"
IMPLIED = frozenset({"table", "replica identity"})  # what every table has


@dataclass
class Finding:
    """One difference. `what`: missing, extra, different, unapplied, held back or unreadable."""

    database: str
    severity: str
    what: str
    kind: str
    table: str
    name: str
    expected: str = ""
    actual: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)

    @property
    def thing(self) -> tuple[str, str, str, str]:
        """The same on every shard that has the same extra thing."""
        return self.kind, self.table, self.name, self.actual


def find_drift(databases: Iterable[str], *, phase: str, jobs: int) -> list[Finding]:
    """What differs, in the order of the databases, asked in parallel.

    What no model asks for is a warning where every shard has the same of it (a RunSQL made it), and
    an error where shards differ. Migrations that `phase` holds back are a warning.
    """
    databases = list(databases)
    _models()  # rendered once, before the threads
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        found = list(pool.map(partial(_findings, phase=phase), databases))
    shards = [alias for alias in databases if alias != CATALOG]
    findings = [finding for part in found for finding in part]
    _judge_extras(findings, set(shards) - {f.database for f in findings if f.what == "unreadable"})
    return findings


def _judge_extras(findings: list[Finding], shards: set[str]) -> None:
    extras = [f for f in findings if f.what == "extra" and f.database in shards]
    times = Counter(finding.thing for finding in extras)
    for finding in extras:
        if times[finding.thing] < len(shards):
            finding.severity = ERROR


def _findings(alias: str, *, phase: str) -> list[Finding]:
    """One database's, in a thread with a connection of its own."""
    try:
        unapplied = list(_unapplied(alias, phase))
        return unapplied + list(_compare(alias, *_schemas(alias)))
    except (Error, RoutingError) as error:
        told = str(error).strip()
        return [Finding(alias, ERROR, "unreadable", "database", "", alias, actual=told)]
    finally:
        connections[alias].close()


def _unapplied(alias: str, phase: str) -> Iterator[Finding]:
    todo, held = left(MigrationExecutor(connections[alias]), phase)
    for migration in todo:
        yield Finding(alias, ERROR, "unapplied", "migration", "", str(migration))
    for name in held:
        yield Finding(alias, WARNING, "held back", "migration", "", name)


def _schemas(alias: str) -> tuple[set[Fact], set[Fact]]:
    """What is expected, and what is there."""
    if connections[alias].vendor == "postgresql":
        return _on_postgresql(alias)
    return _on_sqlite(alias)


def _on_postgresql(alias: str) -> tuple[set[Fact], set[Fact]]:
    """Nothing of it is ever seen by others: the transaction is rolled back, or dies with us."""
    scratch = f"routers_expected_{uuid.uuid4().hex[:12]}"
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT quote_ident(current_schema()), set_config('lock_timeout', '5s', true)"
        )
        real = cursor.fetchone()[0]
        cursor.execute(f"SET LOCAL search_path = {real}")
        actual = read_schema(connections[alias])
        cursor.execute(f"CREATE SCHEMA {scratch}; SET LOCAL search_path = {scratch}")
        schema.prepare(apps.get_app_config("routers"), using=alias)
        # What extensions put into the real schema is needed too, and comes second.
        cursor.execute(f"SET LOCAL search_path = {scratch}, {real}")
        _create_tables(alias)
        expected = read_schema(connections[alias])
        transaction.set_rollback(True, using=alias)
    return expected, actual


def _on_sqlite(alias: str) -> tuple[set[Fact], set[Fact]]:
    """This thread's alias is a database in memory for a moment."""
    real = connections[alias]
    actual = read_schema(real)
    memory = real.copy()
    memory.settings_dict["NAME"] = ":memory:"
    connections[alias] = memory
    try:
        schema.prepare(apps.get_app_config("routers"), using=alias)
        _create_tables(alias)
        return read_schema(memory), actual
    finally:
        connections[alias] = real
        memory.connection.close()


def _create_tables(alias: str) -> None:
    connection = connections[alias]
    with connection.schema_editor() as editor:
        for model in _models():
            if router.allow_migrate_model(alias, model) and model._meta.can_migrate(connection):
                editor.create_model(model)
    schema.finish(apps.get_app_config("routers"), using=alias)


@cache
def _models() -> list[type[models.Model]]:
    """The models as migrations see them.

    The classes themselves differ in one thing: the key of a table in between that Django makes has
    the type that the app's configuration says there, and the project's setting says in migrations.
    """
    found: list[type[models.Model]] = ProjectState.from_apps(apps).apps.get_models()
    return found


def _compare(alias: str, expected: set[Fact], actual: set[Fact]) -> Iterator[Finding]:
    wanted, there = _whole_tables(expected, actual), _whole_tables(actual, expected)
    missing, extra = _without(wanted, there), _without(there, wanted)
    named = {(fact.kind, fact.table, fact.name): fact for fact in extra if fact.name}
    for fact in missing:
        other = named.pop((fact.kind, fact.table, fact.name), None)
        if other is None:
            yield _finding(alias, ERROR, "missing", fact, expected=fact.definition)
        else:
            extra.remove(other)
            sides = {"expected": fact.definition, "actual": other.definition}
            yield _finding(alias, ERROR, "different", fact, **sides)
    for fact in extra:
        yield _finding(alias, WARNING, "extra", fact, actual=fact.definition)


def _whole_tables(these: set[Fact], others: set[Fact]) -> list[Fact]:
    """These facts in order, with all of a table that the others do not know folded into one."""
    known = {fact.table for fact in others}
    facts = [fact for fact in these if fact.table in known or not fact.table]
    for table in {fact.table for fact in these} - known - {""}:
        parts = [fact for fact in these if fact.table == table and fact.kind not in IMPLIED]
        told = sorted(f"{fact.name} {fact.definition}" for fact in parts)
        facts.append(Fact("table", table, table, "; ".join(told)))
    return sorted(facts, key=lambda fact: (fact.table, fact.kind, fact.name, fact.definition))


def _without(these: list[Fact], others: list[Fact]) -> list[Fact]:
    """Those of these that have no counterpart: as often as they have none (an index made twice)."""
    unmatched = Counter(map(_whole, others))
    found = []
    for fact in these:
        if unmatched[_whole(fact)]:
            unmatched[_whole(fact)] -= 1
        else:
            found.append(fact)
    return found


def _whole(fact: Fact) -> tuple[str, ...]:
    return (*fact.key, fact.definition)


def _finding(alias: str, severity: str, what: str, fact: Fact, **sides: str) -> Finding:
    return Finding(alias, severity, what, fact.kind, fact.table, fact.name, **sides)
