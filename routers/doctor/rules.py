"""Finds in a project's code what goes wrong over shards and behind a pooler.

`manage.py doctor` shows everything; `manage.py check` shows the warnings. The code is read, never
run, so what is only known at run time stays unseen. A line is let off by a comment that says why:

    connection.cursor(name="dump")  # routers: allow W104 - this connection goes past the pooler
"""

import ast
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from django.apps import apps
from django.conf import settings as django_settings
from django.core import checks

from routers.conf import CATALOG, settings
from routers.doctor.code import Project, look
from routers.doctor.names import Seen
from routers.placement import sharded_models

__all__ = ["RULES", "Finding", "Rule", "check_code", "examine", "own_code"]

ALLOWED = re.compile(r"#\s*routers:\s*allow\s+((?:W\d+[,\s]*)+)[\s:,-]*(.*)")
SKIPPED = {"__pycache__", "node_modules", "site-packages", "dist-packages"}
# A file with none of these words breaks no rule: it need not be parsed.
WORTH_PARSING = re.compile(
    r"atomic|on_commit|savepoint|rollback|\bcommit\b|cursor|execute|iterator|\braw\b|RawSQL|extra"
    r"|account_context|all_accounts|Thread|Timer|Pool|run_in_executor"
)


@dataclass(frozen=True)
class Rule:
    """What is wrong ({what} is what was seen), and the cure. A hint may well be right as it is."""

    problem: str
    cure: str
    hint: bool = False


RULES = {
    "W100": Rule(
        "This cannot be read as Python: {what}.",
        "Mend it, or keep it outside the apps' folders.",
    ),
    "W101": Rule(
        "{what}() without `using` works on the catalog, not on the account's shard.",
        "`with account_atomic():`; for the catalog say so: `using=CATALOG`.",
    ),
    "W102": Rule(
        "{what}() without `using` waits for the catalog's commit, not for the account's.",
        "`account_on_commit(action)`; for the catalog say so: `using=CATALOG`.",
    ),
    "W103": Rule(
        "The catalog's connection is asked for {what}, whose rows are on the shards.",
        "Use the ORM, or `connections[shard_of(account_id)].cursor()` with the account in the SQL.",
    ),
    "W104": Rule(
        "{what}: kept by the server, it is lost with the session after its transaction.",
        "Read in slices by primary key, or hold it inside one transaction.",
    ),
    "W105": Rule(
        "iterator() holds a cursor on the server, which a pooler loses. It is switched on for: "
        "{what}.",
        'DATABASES[alias]["DISABLE_SERVER_SIDE_CURSORS"] = True for each of them.',
    ),
    "W106": Rule(
        "{what}: a lock of the session, which the pooler gives to other clients.",
        "`pg_advisory_xact_lock()` inside a transaction, or a lock in Redis.",
    ),
    "W107": Rule(
        "{what}: set for the session. Behind the pooler it is lost, or becomes another client's.",
        "`SET LOCAL` (`set_config(name, value, true)`) inside a transaction, or ALTER ROLE … SET.",
    ),
    "W108": Rule(
        "{what}: notifications come to the session, which the pooler gives to other clients.",
        "Redis publish and subscribe, or a connection past the pooler.",
    ),
    "W109": Rule(
        "{what}: a table of the session. Behind the pooler it is lost, or another client's.",
        "ON COMMIT DROP inside a transaction, a common table expression, or an ordinary table.",
    ),
    "W110": Rule(
        "{what}: a statement of the session. Behind the pooler it is lost, or another client's.",
        "Leave preparing to the driver, or to PgBouncer's max_prepared_statements.",
    ),
    "W111": Rule(
        "{what}: behind the pooler another client's work then reads this schema's tables.",
        "Name the schema in the SQL, or ALTER ROLE … SET search_path.",
    ),
    "W112": Rule(
        "{what} is SQL that nothing filters by account.",
        "Use the ORM; else write account_id into the SQL, and allow this line by a comment.",
    ),
    "W113": Rule(
        "The generator {what}() yields inside an account, which leaks into its consumer.",
        "Set the account in the consumer, or hand the generator out as `carry(…)`.",
    ),
    "W114": Rule(
        "{what} is handed to a thread, which has no account.",
        "`carry(work)`, or routers.threads.AccountThreadPool.",
        hint=True,
    ),
    "W115": Rule(
        "SQL that is made at run time goes to the catalog: nobody can tell for which tables.",
        "Sharded tables are asked through the ORM or `connections[shard_of(account_id)]`.",
        hint=True,
    ),
}


@dataclass(frozen=True, order=True)
class Finding:
    """A broken rule at one place. `path` is as it was given; `level` is "warning" or "hint"."""

    path: str
    line: int
    rule: str
    level: str
    problem: str
    cure: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule} {self.problem} {self.cure}"

    def as_dict(self) -> dict[str, str | int]:
        return asdict(self)


def examine(paths: Iterable[Path]) -> list[Finding]:
    """What the files and folders hold, sorted. Raises FileNotFoundError."""
    project = _project()
    files = sorted({file for path in paths for file in _files(path)})
    return sorted({found for file in files for found in _examine_file(file, project)})


def own_code() -> list[Path]:
    """The folders of the project's own apps, and the modules beside its settings.

    Without this library, whose own statements for a session go past the pooler.
    """
    installed = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
    folders = {Path(config.path) for config in apps.get_app_configs() if config.name != "routers"}
    if settings_file := getattr(sys.modules.get(_settings_module()), "__file__", None):
        folders.update(Path(settings_file).parent.glob("*.py"))
    return sorted(
        path
        for path in folders
        if not any(path.is_relative_to(other) for other in installed)
        and SKIPPED.isdisjoint(path.parts)
    )


def check_code(app_configs: object, **kwargs: object) -> list[checks.CheckMessage]:
    """The system check: the warnings of the project's own code, read once a process."""
    return list(_checked())


@cache
def _checked() -> tuple[checks.Warning, ...]:
    return tuple(
        checks.Warning(
            found.problem, found.cure, f"{found.path}:{found.line}", id=f"routers.{found.rule}"
        )
        for found in examine(own_code())
        if found.level == "warning"
    )


def _project() -> Project:
    """What the running project says of itself."""
    models = sharded_models()
    aliases = [alias for alias in (CATALOG, *settings().shards) if _has_cursors(alias)]
    return Project(
        tables=frozenset(model._meta.db_table.lower() for model in models),
        models=frozenset(f"{model.__module__}.{model.__qualname__}" for model in models),
        cursors_on=tuple(sorted(aliases)),
    )


def _has_cursors(alias: str) -> bool:
    database = django_settings.DATABASES.get(alias, {})
    is_postgresql = "postgresql" in database.get("ENGINE", "")
    return is_postgresql and not database.get("DISABLE_SERVER_SIDE_CURSORS")


def _settings_module() -> str:
    return str(getattr(django_settings, "SETTINGS_MODULE", ""))


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    if not path.exists():
        raise FileNotFoundError(f"{path} is neither a file nor a folder.")
    for file in path.rglob("*.py"):
        inside = file.relative_to(path).parts
        if SKIPPED.isdisjoint(inside) and not any(part.startswith(".") for part in inside):
            yield file


def _examine_file(file: Path, project: Project) -> Iterator[Finding]:
    try:
        text = file.read_text(encoding="utf-8")
        if not WORTH_PARSING.search(text):
            return
        tree = ast.parse(text, str(file))
    except (SyntaxError, ValueError) as error:
        yield _finding("W100", file, getattr(error, "lineno", None) or 1, str(error))
        return
    lines = text.splitlines()
    for seen in look(tree, project, in_migration=file.parent.name == "migrations"):
        if not _is_allowed(seen, lines):
            yield _finding(seen.rule, file, seen.node.lineno, seen.what)


def _is_allowed(seen: Seen, lines: list[str]) -> bool:
    """By a comment on any line of the expression, with a reason."""
    last = seen.node.end_lineno or seen.node.lineno
    for line in lines[seen.node.lineno - 1 : last]:
        if (allowed := ALLOWED.search(line)) and allowed[2].strip():
            return seen.rule in re.findall(r"W\d+", allowed[1])
    return False


def _finding(name: str, file: Path, line: int, what: str) -> Finding:
    rule = RULES[name]
    level = "hint" if rule.hint else "warning"
    return Finding(_shown(file), line, name, level, rule.problem.format(what=what), rule.cure)


def _shown(file: Path) -> str:
    """Relative to the working directory where it lies below it."""
    here = Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)
