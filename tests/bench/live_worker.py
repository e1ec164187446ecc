"""Makes what the bench of live pages needs, says "ready"; then starts a session for each "start".

The first line of standard input is {"slug": of the contest, "starts": how many}. Each "start" is
answered by the Unix time just before the session's transaction began. The shards take turns.
"""

import json
import os
import sys
import time
from datetime import timedelta
from typing import Any

if __name__ == "__main__":
    sys.path.pop(0)  # this folder, whose modules are called as packages are

RESULTS = 60  # on each shard
COUNTRIES = ("PL", "BR", "JP", "KE", "AU", "US")


def accounts() -> list[Any]:
    """One on each shard."""
    from accounts.models import Account
    from routers import shard_of

    found: dict[str, Any] = {}
    for account in Account.objects.order_by("pk"):
        found.setdefault(shard_of(account.pk), account)
    return list(found.values())


def make_contest(slug: str, chosen: list[Any]) -> None:
    """One that has ended, with results on every shard."""
    from django.utils import timezone

    from contests.models import Contest
    from contests.services import contest_create
    from routers import account_context
    from tasks.models import Task

    now = timezone.now()
    if Contest.objects.filter(slug=slug).exists():
        return
    contest = contest_create(
        slug=slug,
        name="Bench",
        starts_at=now - timedelta(days=2),
        ends_at=now - timedelta(days=1),
        tasks=list(Task.objects.order_by("pk")[:3]),
    )
    for account in chosen:
        with account_context(account.pk):
            fill(contest)


def fill(contest: Any) -> None:
    from assessments.models import Candidate, TestSession
    from contests.services import contest_join

    test = contest_join(contest)
    for number in range(RESULTS):
        email = f"bench{number}.{test.pk}@example.net"
        candidate = Candidate.objects.create(email=email, name=f"Person Number{number}")
        TestSession.objects.create(
            test=test,
            candidate=candidate,
            status=TestSession.Status.CLOSED,
            started_at=contest.starts_at,
            finished_at=contest.starts_at + timedelta(minutes=number),
            score=number * 37 % 301,
            maximum=300,
            country_id=COUNTRIES[number % len(COUNTRIES)],
        )


def invite(chosen: list[Any], number: int) -> list[tuple[Any, Any]]:
    """So many (account, session) that have not been started."""
    from assessments import services
    from assessments.models import Test
    from routers import account_context

    made = []
    for n in range(number):
        account = chosen[n % len(chosen)]
        with account_context(account.pk):
            test = Test.objects.filter(contest=None).order_by("pk")[0]
            email = f"live{time.time_ns()}@example.net"
            made.append((account, services.session_invite(test=test, email=email, name="L")))
    return made


def main(given: dict[str, Any]) -> None:
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    django.setup()
    from assessments import services
    from routers import account_context
    from tasks.models import Country

    chosen = accounts()
    make_contest(given["slug"], chosen)
    waiting = invite(chosen, given["starts"])
    print("ready", flush=True)
    for number, _ in enumerate(sys.stdin):
        account, session = waiting[number]
        country = Country.objects.get(code=COUNTRIES[number % len(COUNTRIES)])
        with account_context(account.pk):
            began = time.time()
            services.session_start(session, country=country)
        print(began, flush=True)


if __name__ == "__main__":
    main(json.loads(sys.stdin.readline()))
