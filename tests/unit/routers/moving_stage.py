"""What the tests of moves have in common: the owner's sessions, an account with rows, writers.

Everything is committed, for the mover and the writers are strangers to each other; the account's
rows, states and moves are taken away again.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
from django.db import connections

from routers.models import MapVersion, Move
from routers.shard_map import ShardMap, publish_map, use_map
from tests.unit.databases import CONFIG

__all__ = [
    "ACCOUNT",
    "NEIGHBOUR",
    "OTHER",
    "SOURCE",
    "TARGET",
    "Hook",
    "Writer",
    "ask",
    "checksums",
    "connect",
    "fill",
    "rows_of",
    "stage",
]

SOURCE, TARGET, OTHER = "shard01", "shard02", "shard03"
ACCOUNT, NEIGHBOUR = 98_000, 98_000 + 4096
TABLES = ("shop_everything", "shop_line", "shop_order", "shop_tag", "shop_tagging")
ALIASES = ("default", SOURCE, TARGET, OTHER)
SHARDS = ALIASES[1:]
FILL = """
INSERT INTO shop_tag (account_id, name) SELECT {account}, 'tag ' || n FROM generate_series(1, 5) n;
INSERT INTO shop_order (account_id, title) SELECT {account}, 'order ' || n
    FROM generate_series(1, {rows}) n;
INSERT INTO shop_line (account_id, order_id, amount)
    SELECT account_id, id, 2 FROM shop_order WHERE account_id = {account};
INSERT INTO shop_everything (account_id, flag, small, number, positive, ratio, price, text, short,
    slug, day, hour, at, took, blob, uuid, address, document, labels, matrix, span, prices, words)
    SELECT {account}, n % 2 = 0, n, n, 2^62, -0.0 + n / 7.0, 1.5, repeat('é\\t', n * 100), 'x', 'y',
    '2024-02-29', '23:59:59.999999', '2024-03-31 02:30+01', '1 month 25:00', '\\x00ff',
    gen_random_uuid(), '::ffff:10.0.0.1', '{{"a": [1.0, null]}}', '{{NULL, "", "a,b"}}',
    '{{{{1,2}},{{3,4}}}}', '[2024-01-01,)', 'empty', to_tsvector('a fat cat')
    FROM generate_series(1, 40) n;
INSERT INTO shop_everything (account_id, positive, text, slug, short)
    VALUES ({account}, 0, '', '', '');
"""


def given(alias: str, role: str = "site") -> dict[str, Any]:
    """How that role reaches the database: "site" the application's, "site-owner" the mover's."""
    path = Path(str(CONFIG)).with_name(f"{role}.json")
    found: dict[str, Any] = json.loads(path.read_text())["databases"][alias]
    return found


def connect(alias: str, role: str = "site") -> Any:
    """A session past Django."""
    login = given(alias, role)
    names = {"host": "host", "port": "port", "dbname": "name", "user": "user"}
    found = {ours: login[theirs] for ours, theirs in names.items()}
    return psycopg2.connect(**found, password=login["password"])


def ask(alias: str, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """As the owner, past triggers, committed."""
    with closing(connect(alias, "site-owner")) as connection, connection, connection.cursor() as c:
        c.execute("SET LOCAL session_replication_role = replica")
        c.execute(sql, parameters or None)
        return list(c.fetchall()) if c.description else []


def fill(account: int = ACCOUNT, rows: int = 300, alias: str = SOURCE) -> None:
    with closing(connect(alias)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(FILL.format(account=account, rows=rows))


def checksums(alias: str, account: int = ACCOUNT) -> dict[str, tuple[int, str]]:
    """Table → rows and a digest of their text, by nothing that the mover uses."""
    return {
        table: ask(
            alias,
            f"SELECT count(*), coalesce(md5(string_agg(t::text, '|' ORDER BY id)), '')"
            f" FROM {table} t WHERE account_id = {account}",
        )[0]
        for table in TABLES
    }


def rows_of(alias: str, account: int = ACCOUNT) -> int:
    return sum(rows for rows, _ in checksums(alias, account).values())


def clear() -> None:
    """Nothing of the tests' accounts is left on any shard, nor in the catalog."""
    for alias in SHARDS:
        for table in TABLES:
            ask(alias, f"DELETE FROM {table} WHERE account_id IN ({ACCOUNT}, {NEIGHBOUR})")
        ask(alias, "DELETE FROM routers_owner_captured; DELETE FROM routers_owner_account")
        ask(alias, "DELETE FROM routers_owner_slot; SELECT routers_compile_owner()")
    Move.objects.all().delete()
    MapVersion.objects.all().delete()


@contextmanager
def as_owner() -> Iterator[None]:
    """Django's connections, of all threads to come, are the owner's, as a mover's are."""
    names = ("host", "port", "name", "user", "password")
    before = {alias: dict(connections[alias].settings_dict) for alias in ALIASES}
    for alias in ALIASES:
        connections[alias].close()
        owner = given(alias, "site-owner")
        connections[alias].settings_dict.update({name.upper(): owner[name] for name in names})
    try:
        yield
    finally:
        for alias, settings_dict in before.items():
            connections[alias].close()
            connections[alias].settings_dict.update(settings_dict)


@contextmanager
def stage() -> Iterator[None]:
    """A stored map, and no traces before or after."""
    with as_owner():
        clear()
        use_map(publish_map(ShardMap.even(SHARDS), reason="tests"))
        try:
            yield
        finally:
            clear()


@dataclass
class Hook:
    """A watcher that does something at one step of a move, once."""

    step: str = ""
    action: Callable[[], object] = lambda: None
    seen: list[str] = field(default_factory=list)

    def at(self, step: str) -> None:
        again = step in self.seen
        self.seen.append(step)
        if step == self.step and not again:
            self.action()

    def copied(self, size: int) -> None: ...


class Writer:
    """Writes to one account wherever it is, in a thread, each write again until acknowledged.

    A write inserts an order and a line, changes one row of everything, and deletes its last line.
    """

    def __init__(self, name: str, account: int = ACCOUNT) -> None:
        self.name, self.account, self.alias = name, account, SOURCE
        self.acknowledged: list[str] = []
        self.refusals: set[str] = set()
        self.bumps, self.longest = 0, 0.0
        self._stopping = threading.Event()
        self._connections: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait_for(self, number: int, seconds: float = 30) -> None:
        """Until so many more writes are acknowledged."""
        wanted, waited = len(self.acknowledged) + number, threading.Event()
        for _ in range(int(seconds * 100)):
            if len(self.acknowledged) >= wanted:
                return
            waited.wait(0.01)
        raise AssertionError(f"{self.name} has no answers: {self.refusals}")

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(30)
        for connection in self._connections.values():
            connection.close()

    def write(self, title: str) -> str | None:
        """One transaction; the SQLSTATE where it is refused."""
        if self.alias not in self._connections:
            self._connections[self.alias] = connect(self.alias)
        connection = self._connections[self.alias]
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(
                    "INSERT INTO shop_order (account_id, title) VALUES (%s, %s) RETURNING id",
                    [self.account, title],
                )
                cursor.execute(
                    "DELETE FROM shop_line WHERE account_id = %s AND amount = %s",
                    [self.account, 1000 + hash(self.name) % 1000],
                )
                cursor.execute(
                    "INSERT INTO shop_line (account_id, order_id, amount)"
                    " SELECT account_id, id, %s FROM shop_order WHERE title = %s",
                    [1000 + hash(self.name) % 1000, title],
                )
                cursor.execute(
                    "UPDATE shop_everything SET positive = positive + 1"
                    " WHERE account_id = %s AND slug = ''",
                    [self.account],
                )
        except psycopg2.Error as error:
            if error.pgcode == "FU002":
                self.alias = str(error.diag.message_detail)
            if error.pgcode is None or not error.pgcode.startswith("FU"):
                raise
            return error.pgcode
        self.acknowledged.append(title)
        return None

    def _run(self) -> None:
        number = 0
        while not self._stopping.is_set():
            number += 1
            while not self._stopping.is_set():
                refused = self.write(f"{self.name} {number}")
                if refused is None:
                    break
                self.refusals.add(refused)
                self._stopping.wait(0.002)
            self._stopping.wait(0.005)
