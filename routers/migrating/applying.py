"""Applying the migrations of one database, in phases.

The same steps as Django's `migrate`, signals included, but for the plan: a migration with the
class attribute `phase = "after"` belongs after the deployment (it drops what the old code still
reads), and is held back by the phase "before" together with all that depends on it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from django.apps import apps
from django.core.management.base import CommandError
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ModelState, ProjectState
from django.utils.module_loading import module_has_submodule

from routers.exceptions import RoutingError

__all__ = ["PHASES", "Applying", "ConnectionReplaced", "UnknownPhase", "check_migrations", "left"]

PHASES = ("before", "after", "all")


class UnknownPhase(RoutingError):
    """A migration's `phase` is neither "before" nor "after"."""


class ConnectionReplaced(RoutingError):
    """A migration closed its own connection, and with it the lock and the time-outs."""


@dataclass
class Applying:
    """One database's migrations on their way; `current` is the one at work, None between them.

    `tell(name, number, total)` is called before each, `applied(name)` after it.
    """

    connection: BaseDatabaseWrapper
    phase: str
    tell: Callable[[str, int, int], None]
    applied: Callable[[str], None]
    current: Migration | None = None
    held: list[str] = field(default_factory=list)
    _total: int = 0
    _number: int = 0

    def run(self) -> None:
        """Apply what is left of this phase. Raises what a migration raises."""
        _import_handlers()
        connection = self.connection
        connection.prepare_database()
        executor = self._executor()
        executor.loader.check_consistent_history(connection)
        todo, self.held = left(executor, self.phase)
        plan = [(migration, False) for migration in todo]
        # Private, and what `migrate` itself calls.
        before = executor._create_project_state(with_applied_migrations=True)  # type: ignore[attr-defined]
        emit_pre_migrate_signal(0, False, connection.alias, apps=before.apps, plan=plan)
        self._total = len(plan)
        after = executor.migrate([], plan=plan, state=before.clone())
        _with_real_models(after)
        emit_post_migrate_signal(0, False, connection.alias, apps=after.apps, plan=plan)

    def run_app(self, app_label: str) -> None:
        """Apply one app's migrations and what they depend on, without signals."""
        executor = self._executor()
        leaves = [key for key in executor.loader.graph.leaf_nodes() if key[0] == app_label]
        plan = executor.migration_plan(leaves)
        self._total = len(plan)
        executor.migrate(leaves, plan=plan)

    def _executor(self) -> MigrationExecutor:
        self._session, self._number, self.current = self.connection.connection, 0, None
        return MigrationExecutor(self.connection, self._progress)

    def _progress(self, action: str, migration: Any = None, fake: bool | None = None) -> None:
        if migration is None:
            return
        if action == "apply_start":
            self.current = migration
            self._number += 1
            self.tell(str(migration), self._number, self._total)
        elif action == "apply_success":
            self.applied(str(migration))
            self._require_same_session()
            self.current = None

    def _require_same_session(self) -> None:
        if self.connection.connection is not self._session:
            raise ConnectionReplaced(
                f"{self.current} closed its connection to {self.connection.alias}, and with it the "
                f"lock against other runs. It is applied; take the close() out of it, and run "
                f"again for the rest."
            )


def left(executor: MigrationExecutor, phase: str) -> tuple[list[Migration], list[str]]:
    """What that phase still applies to the executor's database, in order; what it holds back."""
    graph = executor.loader.graph
    todo: list[Migration] = []
    held: set[tuple[str, str]] = set()
    for migration, _ in executor.migration_plan(graph.leaf_nodes()):
        key = (migration.app_label, migration.name)
        needed = {parent.key for parent in graph.node_map[key].parents}
        if phase == "before" and (_phase_of(migration) == "after" or needed & held):
            held.add(key)
        else:
            todo.append(migration)
    return todo, sorted(f"{app}.{name}" for app, name in held)


def check_migrations() -> None:
    """Refuse what no database should begin with. Raises UnknownPhase, CommandError."""
    loader = MigrationLoader(None)
    for migration in loader.disk_migrations.values():
        _phase_of(migration)
    conflicts = loader.detect_conflicts()
    if conflicts:
        named = "; ".join(f"{', '.join(names)} in {app}" for app, names in conflicts.items())
        raise CommandError(
            f"Several last migrations in one app ({named}): run `manage.py makemigrations --merge`."
        )


def _phase_of(migration: Migration) -> str:
    phase: str = getattr(migration, "phase", "before")
    if phase not in ("before", "after"):
        raise UnknownPhase(
            f'{migration} has phase = {phase!r}. Say phase = "after" for a migration that waits '
            f'for the deployment, "before" (or nothing) for every other one.'
        )
    return phase


def _import_handlers() -> None:
    """The apps' `management` modules, which connect to the signals: as `migrate` does."""
    for app in apps.get_app_configs():
        if app.module and module_has_submodule(app.module, "management"):
            import_module(".management", app.name)


def _with_real_models(state: ProjectState) -> None:
    """Render the models of apps without migrations again, now with all relations: as `migrate`."""
    state.clear_delayed_apps_cache()
    keys = [(model.app_label, model.name_lower) for model in state.apps.real_models]
    with state.apps.bulk_update():
        for key in keys:
            state.apps.unregister_model(*key)
    state.apps.render_multiple([ModelState.from_model(apps.get_model(*key)) for key in keys])
