"""`manage.py seed_demo --accounts 200 --sessions 1000000`."""

import os
import time
from argparse import ArgumentTypeError
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.progress import progress
from demo.contest import seed_contest
from demo.plan import plan
from demo.services import DEMO_EMAIL, Seeding, demo_user, midnight, seed
from tasks.models import Task


class Command(BaseCommand):
    help = "Fills the cluster with accounts of very different size. Run again, it adds what lacks."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--accounts", type=_positive, default=12)
        parser.add_argument("--sessions", type=_positive, default=4_000, help="over all accounts")
        parser.add_argument("--seed", type=int, default=1, help="other data (default: 1)")
        parser.add_argument("--until", type=_day, default=midnight(), help="last day: 2026-11-23")

    def handle(self, *args: Any, accounts: int, sessions: int, **options: Any) -> None:
        if not Task.objects.exists():
            raise CommandError("There are no tasks yet. Load them with `manage.py load_tasks`.")
        self._login()
        planned = plan(accounts, sessions)
        began = time.monotonic()
        with progress("demo sessions", sessions, "sessions") as advance:
            rows = seed(planned, Seeding(options["seed"], options["until"]), advance)
        seconds = time.monotonic() - began
        seed_contest(account.slug for account in planned)
        self.stdout.write(
            f"{accounts:,} accounts with {sessions:,} sessions: {rows:,} rows inserted in "
            f"{seconds:.1f} s ({rows / seconds:,.0f} rows/s)."
        )

    def _login(self) -> None:
        password = demo_user(os.environ.get("FULCRUM_DEMO_PASSWORD"))
        if password:
            self.stdout.write(f"The demo login is {DEMO_EMAIL} with the password {password}")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a day like 2026-11-23") from None
