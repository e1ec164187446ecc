"""Filling the cluster with demo data, inside each shard, several shards at once."""

import json
import secrets
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connections, transaction

from accounts.models import Account, Membership, User
from assessments.models import Test, TestSession, TestTask
from demo.plan import TESTS, PlannedAccount
from demo.statements import KEY_WINDOW_MS, POSTGRESQL, SQLITE, statements
from routers import account_context, shard_of
from routers.conf import CATALOG, settings
from routers.keys import EPOCH_MS, make_key
from tasks.models import Task

__all__ = ["DEMO_EMAIL", "Seeding", "demo_user", "seed"]

DEMO_EMAIL = "demo@fulcrum.test"
CHUNK = 20_000  # sessions in one transaction: interrupted, no more than this is done again
DAYS = 700
FIRST_NAMES = """
Ada Bruno Chiara Dmitri Elena Farid Grace Hugo Ines Jonas Kaja Liam Mei Nadia Omar Priya Quentin
Rosa Sven Tomas Uma Viktor Wanda Xavier Yara Zofia Agata Bence Carmen Dario Emre Freja Goran
Hanna Ivana Jakub Karin Lukas Marta Nikos Olga Pavel
""".split()
LAST_NAMES = """
Almeida Bauer Costa Dvorak Eriksen Ferrari Garcia Haddad Ivanov Jansen Kowalska Lindqvist Moreau
Nakamura Okafor Petrov Quist Rossi Santos Tanaka Ueda Virtanen Wagner Xu Yilmaz Zielinski
Andersson Brandt Chen Duarte Eklund Fischer Gupta Horvat Iqbal Jovanovic Keller Lopez Mensah
Novak
""".split()
COUNTRIES = """
US IN GB DE PL FR BR UA CA ES IT NL RO TR NG JP MX AR CZ SE PT EG VN KE AU
""".split()


@dataclass(frozen=True)
class Seeding:
    """What one run is to make: everything follows from it and the accounts' ids."""

    seed: int
    until: datetime


def demo_user(password: str | None) -> str | None:
    """Make the demo login with this password, or one made up, which is returned if it is new.

    Without a password given, an existing login keeps its own.
    """
    user, is_new = User.objects.get_or_create(email=DEMO_EMAIL, defaults={"name": "Demo"})
    made_up = secrets.token_urlsafe(9) if is_new and not password else None
    if password or made_up:
        user.set_password(password or made_up)
        user.save(update_fields=["password"])
    return made_up


def seed(planned: list[PlannedAccount], seeding: Seeding, advance: Callable[[int], None]) -> int:
    """Make the accounts and fill them; `advance` is told of sessions done. Returns rows inserted.

    An account that is filled as planned, or further, is left as it is; a half filled one goes on.
    """
    accounts = _accounts(planned)
    by_shard: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for wanted in planned:
        account_id = accounts[wanted.slug].pk
        by_shard[shard_of(account_id)].append((account_id, wanted.sessions))
    with ThreadPoolExecutor(max_workers=len(by_shard) or 1) as pool:
        shards = [
            pool.submit(_fill_shard, shard, work, seeding, advance)
            for shard, work in by_shard.items()
        ]
        return sum(future.result() for future in shards)


def _accounts(planned: list[PlannedAccount]) -> dict[str, Account]:
    with transaction.atomic(using=CATALOG):
        Account.objects.bulk_create(
            [
                Account(slug=p.slug, name=p.name, plan=p.plan, credits=2 * p.sessions + 100)
                for p in planned
            ],
            update_conflicts=True,  # filled further, an account has credits for it
            unique_fields=["slug"],
            update_fields=["credits"],
        )
        accounts = Account.objects.in_bulk([p.slug for p in planned], field_name="slug")
        _join_first_accounts([accounts[p.slug] for p in planned[:3]])
    return accounts


def _join_first_accounts(accounts: list[Account]) -> None:
    """The demo user owns the first account and has the lesser roles in the next two."""
    user = User.objects.filter(email=DEMO_EMAIL).first()
    roles = (Membership.Role.OWNER, Membership.Role.RECRUITER, Membership.Role.VIEWER)
    if user:
        Membership.objects.bulk_create(
            [
                Membership(user=user, account=account, role=role)
                for account, role in zip(accounts, roles, strict=False)
            ],
            ignore_conflicts=True,
        )


def _fill_shard(
    shard: str,
    work: list[tuple[int, int]],
    seeding: Seeding,
    advance: Callable[[int], None],
) -> int:
    """Fill the accounts of one shard, in a thread with a connection of its own."""
    try:
        tasks = list(Task.objects.using(shard).order_by("slug").values_list("pk", flat=True))
        return sum(
            _fill_account(shard, account_id, sessions, tasks, seeding, advance)
            for account_id, sessions in work
        )
    finally:
        connections[shard].close()


def _fill_account(
    shard: str,
    account_id: int,
    sessions: int,
    tasks: list[int],
    seeding: Seeding,
    advance: Callable[[int], None],
) -> int:
    with account_context(account_id):
        tests = _tests(shard, tasks)
        done = min(_done(shard, account_id), sessions)
    advance(done)
    inserted = 0
    parameters = _parameters(shard, account_id, sessions, tests, tasks, seeding)
    for first in range(done + 1, sessions + 1, CHUNK):
        last = min(first + CHUNK - 1, sessions)
        inserted += _insert(shard, {**parameters, "first": first, "last": last})
        advance(last - first + 1)
    return inserted


def _done(shard: str, account_id: int) -> int:
    """How many demo sessions the account has: the rows whose keys lie in its own window."""
    number = settings().shards[shard]
    begins = EPOCH_MS + account_id * KEY_WINDOW_MS
    window = (make_key(begins, number, 0), make_key(begins + KEY_WINDOW_MS, 0, 0) - 1)
    return TestSession.objects.filter(pk__range=window).count()


def _tests(shard: str, tasks: list[int]) -> list[int]:
    """The account's demo tests, made if missing; their ids in the order of TESTS."""
    with transaction.atomic(using=shard):
        for name, minutes, places in TESTS:
            test, is_new = Test.objects.get_or_create(name=name, defaults={"minutes": minutes})
            if is_new:
                TestTask.objects.bulk_create(
                    TestTask(test=test, task_id=tasks[place], position=position)
                    for position, place in enumerate(places, start=1)
                )
        ids = dict(Test.objects.values_list("name", "pk"))
    return [ids[name] for name, _, _ in TESTS]


def _insert(shard: str, parameters: dict[str, Any]) -> int:
    connection = connections[shard]
    dialect = POSTGRESQL if connection.vendor == "postgresql" else SQLITE
    with transaction.atomic(using=shard), connection.cursor() as cursor:
        inserted = 0
        for statement in statements(dialect):
            cursor.execute(statement, parameters)
            inserted += cursor.rowcount
    return inserted


def _parameters(
    shard: str, account_id: int, sessions: int, tests: list[int], tasks: list[int], seeding: Seeding
) -> dict[str, Any]:
    lists: dict[str, list[Any]] = {
        "firsts": FIRST_NAMES,
        "lasts": LAST_NAMES,
        "countries": COUNTRIES,
        "test_ids": tests,
        "task_ids": [tasks[place] for _, _, places in TESTS for place in places],
    }
    is_sqlite = connections[shard].vendor == "sqlite"
    began = seeding.until - timedelta(days=DAYS)
    return {
        **{name: json.dumps(values) if is_sqlite else values for name, values in lists.items()},
        **{f"{name}_count": len(values) for name, values in lists.items()},
        "account": account_id,
        "shard_number": settings().shards[shard],
        "seed": seeding.seed,
        "sessions": sessions,
        "tests": len(tests),
        "began": int(began.timestamp()),
        "span": (DAYS - 8) * 86_400,  # the last ones invited have had their days to take the test
    }


def midnight() -> datetime:
    """The beginning of today, UTC: the default end of the demo's history."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
