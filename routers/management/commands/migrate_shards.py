"""`manage.py migrate_shards`: the catalog and every shard, in parallel, then the first map."""

import io
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from routers.conf import CATALOG, settings


class Command(BaseCommand):
    help = "Migrates the catalog and every shard in parallel. Run again, it does what is left."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--jobs", type=int, default=8, help="databases at once (default: 8)")

    def handle(self, *args: Any, jobs: int, **options: Any) -> None:
        aliases = [CATALOG, *sorted(settings().shards)]
        failed: dict[str, BaseException] = {}
        with ThreadPoolExecutor(max_workers=jobs) as pool:
            running = {pool.submit(_migrate, alias): alias for alias in aliases}
            for done, future in enumerate(as_completed(running), start=1):
                alias, error = running[future], future.exception()
                if error:
                    failed[alias] = error
                outcome = f"failed: {error}" if error else future.result()
                self.stdout.write(f"[{done}/{len(aliases)}] {alias}: {outcome}")
        if failed:
            raise CommandError(
                f"Not migrated: {', '.join(sorted(failed))}; the others are done. Mend what is "
                f"named above and run `manage.py migrate_shards` again: it does what is left."
            )
        call_command("shards", "init", stdout=self.stdout)


def _migrate(alias: str) -> str:
    """Migrate one database; returns what was done. Runs in a thread with its own connection."""
    output = io.StringIO()
    try:
        call_command("migrate", database=alias, interactive=False, no_color=True, stdout=output)
    finally:
        connections[alias].close()
    applied = [line.strip() for line in output.getvalue().splitlines() if line.endswith(" OK")]
    return f"{len(applied)} migrations applied" if applied else "up to date"
