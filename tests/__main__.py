"""Runs the tests: `make test`, `make test-fast`, `make lint`; `T=path` narrows.

Each suite is one pytest run with its own settings. The two engines run the same unit tests.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.variants import CHECKOUT, TEST

LIBRARY_OF_TASKS = "tests/unit/site/tasks"  # touches no database
CACHE = "tests/unit/site/caching"  # has settings of its own
SITE, LIBRARY = "tests.unit.site.settings", "tests.unit.routers.settings"
CACHING = "tests.unit.site.caching.settings"


@dataclass(frozen=True)
class Suite:
    """A pytest run: its folders, Django settings, and what must stand before it."""

    title: str
    paths: tuple[str, ...]
    settings: str | None = None
    ignored: tuple[str, ...] = ()
    servers: bool = False
    browser: bool = False
    fast: bool = False

    def narrowed(self, wanted: str) -> tuple[str, ...]:
        """The part of the suite that `wanted` (a path, perhaps with ::test) names."""
        if not wanted:
            return self.paths
        if wanted.startswith(self.ignored):
            return ()
        inside = [path for path in self.paths if path.startswith(wanted.rstrip("/"))]
        return tuple(inside) or ((wanted,) if wanted.startswith(self.paths) else ())


SUITES = (
    Suite("infra", ("tests/unit/infra",), fast=True),
    Suite("routers on SQLite", ("tests/unit/routers",), LIBRARY, fast=True),
    Suite("site on SQLite", ("tests/unit/site",), SITE, (CACHE,), fast=True),
    Suite("caching on SQLite", (CACHE,), CACHING, fast=True),
    Suite("routers on PostgreSQL", ("tests/unit/routers",), LIBRARY, servers=True),
    Suite(
        "site on PostgreSQL", ("tests/unit/site",), SITE, (LIBRARY_OF_TASKS, CACHE), servers=True
    ),
    Suite("caching on PostgreSQL", (CACHE,), CACHING, servers=True),
    Suite("cluster", ("tests/cluster",)),
    Suite("browser", ("tests/browser",), browser=True),
)
LAB = Suite("lab", ("tests/lab",))
LAB_OF_TESTS = "9"


@dataclass
class Report:
    """What each suite came to, printed at the end."""

    lines: list[str] = field(default_factory=list)
    failed: bool = False

    def add(self, title: str, status: int, seconds: float) -> None:
        self.failed |= status != 0
        self.lines.append(f"  {'ok    ' if status == 0 else 'FAILED'} {title} ({seconds:.0f} s)")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests", description=__doc__)
    parser.add_argument("path", nargs="?", default="", help="a folder, a file, or file::test")
    parser.add_argument("--fast", action="store_true", help="the unit tests on SQLite only")
    parser.add_argument("--lint", action="store_true", help="ruff and mypy only")
    parser.add_argument("--lab", action="store_true", help="the playbooks on real hosts; as root")
    parser.add_argument("--down", action="store_true", help="stop the servers of the unit tests")
    options = parser.parse_args()
    if options.down:
        return subprocess.run(_on_test_servers("down"), cwd=CHECKOUT, check=False).returncode
    report = Report()
    if options.lab:
        _lint_playbooks(report)
        _run_suites([LAB], options.path, report)
    elif options.lint or not (options.fast or options.path):
        _lint(report)
    if not (options.lint or options.lab):
        chosen = [suite for suite in SUITES if suite.fast or not options.fast]
        _run_suites(chosen, options.path, report)
    print("\n".join(["", "Suites:", *report.lines]))
    return int(report.failed)


def _lint(report: Report) -> None:
    for title, *command in (
        ("ruff check", "ruff", "check", "."),
        ("ruff format", "ruff", "format", "--check", "."),
        ("mypy routers infra", "mypy", "routers", "infra"),
        ("mypy site", "mypy", "site"),
    ):
        _step(report, title, [sys.executable, "-m", *command], {})


def _lint_playbooks(report: Report) -> None:
    lint = [Path(sys.executable).parent / "ansible-lint", "--offline", "--profile", "production"]
    _step(report, "ansible-lint", [*map(str, lint), "ansible"], {})


def _run_suites(suites: list[Suite], path: str, report: Report) -> None:
    todo = [(suite, paths) for suite in suites if (paths := suite.narrowed(path))]
    if not todo:
        sys.exit(f"T={path}: no suite has that path. The suites are in tests/__main__.py.")
    if any(suite.servers for suite, _ in todo):
        _step(report, "test servers", _on_test_servers("up", "--only", "servers"), {})
    if any(suite.browser for suite, _ in todo) and not shutil.which("chromium"):
        _install("chromium")
    for suite, paths in todo:
        command = [sys.executable, "-m", "pytest", *paths]
        command += [f"--ignore={path}" for path in suite.ignored]
        if suite is LAB:  # one step after another, as an operator takes them
            command += ["-p", "no:randomly"]
        if suite.fast:  # each process has its databases in memory; a file's tests stay together
            command += ["-n", "auto", "--dist", "loadfile"]
        if suite.settings:
            command.append(f"--ds={suite.settings}")
        variables = {"FULCRUM_CONFIG": str(TEST.root / "site.json") if suite.servers else None}
        if suite is LAB:  # beside the lab that somebody has up
            variables["FULCRUM_LAB"] = os.environ.get("FULCRUM_LAB", LAB_OF_TESTS)
        _step(report, suite.title, command, variables)


def _on_test_servers(*command: str) -> list[str]:
    return [sys.executable, "-m", "infra", *TEST.options(), *command]


def _install(package: str) -> None:
    """Debian's package, as root or by sudo."""
    become_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    script = CHECKOUT / "infra" / "install-packages.sh"
    subprocess.run([*become_root, "sh", str(script), package], check=True)


def _step(report: Report, title: str, command: list[str], variables: dict[str, str | None]) -> None:
    print(f"\n=== {title}", flush=True)
    environment = {name: value for name, value in os.environ.items() if name not in variables}
    environment |= {name: value for name, value in variables.items() if value}
    began = time.monotonic()
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, check=False)
    report.add(title, done.returncode, time.monotonic() - began)


if __name__ == "__main__":
    sys.exit(main())
