"""`manage.py cache bump | status | report`."""

import json
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from caching import report, totals
from caching.conf import settings
from caching.inventory import Memory, ServerState, memory, server_states
from caching.servers import servers
from caching.service import state
from caching.wire import AWAY, RedisAway
from caching.writes import bump_account, bump_database
from routers.conf import CATALOG
from routers.conf import settings as sharding
from routers.exceptions import RoutingError

OFF_BY_SETTINGS = "Nothing is cached: the settings have no CACHING."
MEANS = (
    "past it: a write was under way, the cache was off, or Redis away. made: what an answer costs\n"
    "without the cache. saved: hits * (made - hit). Processes add what they counted every 10 s."
)


class Command(BaseCommand):
    help = (
        "Forgets what is cached of rows that were changed past Django, and says what is in service."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        bump = actions.add_parser("bump", help="forget; after the change was committed")
        of_what = bump.add_mutually_exclusive_group(required=True)
        of_what.add_argument("--account", type=int, metavar="ID", help="what is kept of an account")
        of_what.add_argument("--database", metavar="ALIAS", help="all of a shard, or of default")
        status = actions.add_parser(
            "status", help="each database's cache: in service or not, and its epoch; each Redis"
        )
        counted = actions.add_parser(
            "report", help="hit rate, bytes and time saved of each model and fragment; memory"
        )
        counted.add_argument("--reset", action="store_true", help="begin to count anew")
        for action in (status, counted):
            action.add_argument("--json", action="store_true", help="for a program")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        if not settings().enabled:
            raise CommandError(OFF_BY_SETTINGS)
        try:
            getattr(self, f"_{action}")(options)
        except RoutingError as error:
            raise CommandError(str(error)) from error

    def _bump(self, options: dict[str, Any]) -> None:
        account, alias = options["account"], options["database"]
        if account is not None:
            bump_account(account)
            self.stdout.write(f"What was kept of account {account} is forgotten.")
            return
        if alias not in _databases():
            known = ", ".join(_databases())
            raise CommandError(f"There is no database {alias!r}. There are: {known}.")
        bump_database(alias)
        self.stdout.write(f"What was kept of {alias} is forgotten.")

    def _status(self, options: dict[str, Any]) -> None:
        found = {alias: state(alias) for alias in _databases()}
        redis = server_states()
        if options["json"]:
            databases = {
                alias: None if one is None else {"epoch": one[0], "in_service": not one[1]}
                for alias, one in found.items()
            }
            kind = _kind()
            self._as_json(
                {"databases": databases, "redis": [one.as_dict() for one in redis], "kind": kind}
            )
            return
        for alias, one in found.items():
            self.stdout.write(f"{alias}: {_in_words(one)}")
        self.stdout.write(f"Redis: {_kind()}")
        for server in redis:
            self.stdout.write(f"  {_server_in_words(server)}")

    def _report(self, options: dict[str, Any]) -> None:
        try:
            if options["reset"]:
                totals.forget()
                self.stdout.write("What was counted is forgotten.")
                return
            found, held = totals.read(), memory()
        except (RedisAway, *AWAY) as error:
            raise CommandError(
                f"Redis is away: {error}. `manage.py cache status` says more."
            ) from error
        lines = report.lines(found.tallies)
        if options["json"]:
            self._as_json(
                {
                    "since": found.since,
                    "lines": [line.as_dict() for line in lines],
                    "memory": held.as_dict(),
                }
            )
            return
        if found.since is None:
            self.stdout.write("No server's process has counted anything yet.")
        else:
            Console(file=self.stdout).print(report.table(lines))  # type: ignore[arg-type]
            since = datetime.fromtimestamp(found.since, UTC)
            self.stdout.write(f"Since {since:%Y-%m-%d %H:%M} UTC. {MEANS}")
        self.stdout.write(_memory_in_words(held))

    def _as_json(self, found: object) -> None:
        self.stdout.write(json.dumps(found))


def _kind() -> str:
    try:
        return servers().kind
    except AWAY as error:
        return f"away: {error}"


def _in_words(found: tuple[int, bool] | None) -> str:
    if found is None:
        return "no cache: run `manage.py migrate_shards`"
    epoch, is_off = found
    how = "off: a writer could not reach Redis" if is_off else "in service"
    return f"{how}, epoch {epoch}"


def _server_in_words(server: ServerState) -> str:
    if server.error:
        return f"{server.name}: away: {server.error}"
    most = f"of {report.size(server.most_bytes)}" if server.most_bytes else "without a limit"
    return (
        f"{server.name}: {server.role}, Redis {server.version}, run {server.run}, "
        f"{report.size(server.used_bytes)} {most}, {server.policy}"
    )


def _memory_in_words(held: Memory) -> str:
    size = report.size(held.bytes)
    if held.is_whole:
        return f"The cache's {held.keys:,} keys take {size} on Redis."
    return (
        f"The cache's keys take about {size} on Redis: an estimate from a sample of "
        f"{held.sampled:,} keys."
    )


def _databases() -> list[str]:
    return [CATALOG, *sorted(sharding().shards)]
