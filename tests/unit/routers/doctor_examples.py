# ruff: noqa
# type: ignore
"""What the doctor finds, and what it leaves alone. `# expect W101`: found here; else nothing is.

Read by the doctor's test, never run.
"""

import asyncio
import concurrent.futures
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from threading import Thread, Timer

import django.db
import pytest
from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction
from django.db import transaction as tx
from django.db.models.expressions import RawSQL
from django.db.transaction import atomic, get_connection
from django.db.transaction import atomic as block
from django.db.transaction import on_commit as later
from django.utils.decorators import method_decorator

from routers import account_atomic, account_context, all_accounts
from routers.conf import CATALOG
from routers.carrying import carry
from routers.threads import AccountThreadPool
from tests.unit.routers.shop.models import Currency, Line, Order

ALIAS = "shard01"

# W101: the catalog's transaction by accident


def transactions(view, options, alias):
    with transaction.atomic():  # expect W101
        pass
    with atomic():  # expect W101
        pass
    with block(), open("x"):  # expect W101
        pass
    with tx.atomic(savepoint=False):  # expect W101
        pass
    with django.db.transaction.atomic(using=None):  # expect W101
        pass
    with contextlib.ExitStack() as stack:
        stack.enter_context(transaction.atomic())  # expect W101
    guarded = atomic(view)
    with transaction.atomic(using=CATALOG), atomic("shard01"), atomic(alias), block(**options):
        pass
    with transaction.atomic(
        savepoint=True,
        using=alias,
    ):
        transaction.set_rollback(True)  # expect W101
        transaction.set_rollback(True, using=alias)
        transaction.set_rollback(True, alias)
    with account_atomic():
        pass
    return guarded


@transaction.atomic  # expect W101
def decorated():
    pass


@transaction.atomic()  # expect W101
def decorated_too():
    pass


@atomic(using=CATALOG)
@account_atomic
def decorated_well():
    pass


@method_decorator(transaction.atomic, name="post")  # expect W101
class View:
    pass


wrapped = atomic(decorated)  # expect W101
shorter = transaction.atomic


def by_another_name():
    with shorter():  # expect W101
        pass
    with shorter(using=ALIAS):
        pass


def not_ours(transaction_of_another_library, atomic=True):
    print(atomic)
    with transaction_of_another_library.atomic():
        pass


# W102


def commits(action, alias):
    transaction.on_commit(action)  # expect W102
    later(action)  # expect W102
    later(partial(action, 1), robust=True)  # expect W102
    transaction.on_commit(action, using=alias)
    transaction.on_commit(action, alias)
    later(action, using=CATALOG)


# W103, W115: the catalog's connection

TABLE_SQL = "SELECT count(*) FROM shop_order"


def through_the_catalog(sql, shard):
    with connection.cursor() as cursor:
        cursor.execute("SELECT title FROM shop_order")  # expect W103
        cursor.execute(TABLE_SQL)  # expect W103
        cursor.execute("SELECT 1 FROM shop_plan -- not shop_order")
        cursor.execute(sql)  # expect W115
        cursor.execute(f"SELECT count(*) FROM {sql}")  # expect W115
        cursor.execute(f"SELECT {sql} FROM shop_line")  # expect W103
    connections["default"].cursor().execute('UPDATE "shop_line" SET amount = 1')  # expect W103
    with connections[DEFAULT_DB_ALIAS].cursor() as mine, open("x"):
        mine.executemany("DELETE FROM shop_line WHERE id = %s", [])  # expect W103
    with connections[CATALOG].cursor() as mine:
        mine.execute("DELETE FROM shop_line")  # expect W103
    catalog = get_connection()
    catalog.cursor().execute("TRUNCATE shop_order")  # expect W103
    with connections[shard].cursor() as cursor_of_shard:
        cursor_of_shard.execute(TABLE_SQL)
        cursor_of_shard.execute(sql)
    get_connection(shard).cursor().execute(TABLE_SQL)


def through_the_shard(connection):
    with connection.cursor() as another:
        another.execute("SELECT title FROM shop_order")


# W104: cursors on the server


def cursors(connection_of_psycopg, sql):
    connection_of_psycopg.cursor("rows")  # expect W104
    connection_of_psycopg.cursor(name="rows", withhold=True)  # expect W104
    connection_of_psycopg.cursor(name=None)
    connection_of_psycopg.cursor()
    with connections["shard01"].cursor() as cursor:
        cursor.execute("DECLARE rows CURSOR FOR SELECT 1")  # expect W104
        with account_atomic():
            cursor.execute("DECLARE rows NO SCROLL CURSOR FOR SELECT 1")
            cursor.execute("DECLARE rows CURSOR WITH HOLD FOR SELECT 1")  # expect W104


@account_atomic
def cursor_in_its_transaction(cursor):
    cursor.execute("DECLARE rows CURSOR FOR SELECT 1")


def iterate():
    for order in Order.objects.iterator():  # expect W105
        print(order)
    for order in Order.objects.filter(title="x").iterator(chunk_size=100):  # expect W105
        print(order)


# W106 to W111: the session's state


def sessions(cursor, name):
    cursor.execute("SELECT pg_advisory_lock(%s)", [1])  # expect W106
    cursor.execute("SELECT pg_try_advisory_lock_shared(1, 2)")  # expect W106
    cursor.execute("SELECT pg_advisory_unlock_all()")  # expect W106
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [1])
    cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [1])

    cursor.execute("SET statement_timeout = 1000")  # expect W107
    cursor.execute("SET SESSION work_mem = '1GB'")  # expect W107
    cursor.execute("set role reader")  # expect W107
    cursor.execute(f"SET {name} = 1")  # expect W107
    cursor.execute("SET " + name)  # expect W107
    cursor.execute("SET %s TO 1" % name)  # expect W107
    cursor.execute("SET {} TO 1".format(name))  # expect W107
    cursor.execute("-- first\nSET LOCAL x.y = 1; SET x.y = 2")  # expect W107
    cursor.execute("SELECT set_config('x.account', %s, false)", ["1"])  # expect W107
    cursor.execute("SELECT set_config('x.account', %s, true)", ["1"])
    cursor.execute("SET LOCAL statement_timeout = 1000")
    cursor.execute("SET TRANSACTION READ ONLY; SET CONSTRAINTS ALL DEFERRED")
    cursor.execute("UPDATE shop_order SET title = 'SET x'")

    cursor.execute("LISTEN changes")  # expect W108
    cursor.execute("NOTIFY changes; SELECT pg_notify('changes', '')")

    cursor.execute("CREATE TEMP TABLE found (id bigint)")  # expect W109
    cursor.execute("CREATE TEMPORARY TABLE found ON COMMIT DROP AS SELECT 1")  # expect W109
    cursor.execute("SELECT * INTO TEMP found FROM shop_order")  # expect W109
    with account_atomic():
        cursor.execute("CREATE TEMP TABLE found ON COMMIT DROP AS SELECT 1")
    cursor.execute("CREATE TABLE temp_found (id bigint)")

    cursor.execute("PREPARE find AS SELECT 1")  # expect W110
    cursor.execute("EXECUTE find")  # expect W110
    cursor.execute("PREPARE TRANSACTION 'x'")

    cursor.execute("SET search_path TO tenant1, public")  # expect W111
    cursor.execute(f"SET search_path = {name}")  # expect W111
    cursor.execute("SELECT set_config('search_path', %s, false)", [name])  # expect W111
    cursor.execute("SET LOCAL search_path TO tenant1")
    cursor.execute("CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = x AS 'SELECT 1'")


# W112: SQL that nothing filters


def raw_sql():
    Order.objects.raw("SELECT * FROM shop_order")  # expect W112
    Order.objects.filter(title="x").extra(where=["1 = 1"])  # expect W112
    Order.objects.annotate(n=RawSQL("SELECT 1", []))  # expect W112
    Currency.objects.annotate(n=RawSQL("SELECT count(*) FROM shop_line", []))  # expect W112
    Currency.objects.raw("SELECT * FROM shop_currency")
    Currency.objects.annotate(n=RawSQL("SELECT 1", []))


# W113: an account that leaks out of a generator


def rows(accounts):
    for account in accounts:
        with account_context(account):
            yield from Order.objects.all()  # expect W113


async def rows_async(shard):
    with open("x"), all_accounts(shard):
        async for order in Order.objects.all():
            yield order  # expect W113


def rows_after_the_block(account):
    with account_context(account):
        found = list(Order.objects.all())
    yield from found


@contextmanager
def account_by_name(name):
    with account_context(1):
        yield name


@pytest.fixture(scope="module")
def inside():
    with account_context(1):
        yield


def hands_on(account):
    with account_context(account):

        def inner():
            yield 1

        return inner


# W114: threads (hints)


def threads(work, loop, context):
    Thread(target=work).start()  # expect W114
    threading.Thread(None, work).start()  # expect W114
    Timer(1, work).start()  # expect W114
    Thread(target=carry(work)).start()
    bound = carry(work)
    Thread(target=bound).start()
    Thread(target=copy_context().run, args=[work]).start()
    with ThreadPoolExecutor() as pool:
        pool.submit(work, 1)  # expect W114
        pool.map(work, [1, 2])  # expect W114
        pool.submit(carry(work), 1)
    executor = concurrent.futures.ThreadPoolExecutor(4)
    executor.submit(work)  # expect W114
    loop.run_in_executor(None, work)  # expect W114
    loop.run_in_executor(None, carry(work))
    with AccountThreadPool() as safe:
        safe.submit(work)
        safe.map(work, [1, 2])
    return asyncio.to_thread(work)


# Let off, with a reason


def allowed(cursor):
    cursor.execute("SET x = 1")  # routers: allow W107 - this connection goes past the pooler
    cursor.execute(
        "SELECT pg_advisory_lock(1)"  # routers: allow W106, W107: as above
    )
    cursor.execute("SET x = 1")  # expect W107  # routers: allow W107
    cursor.execute("SET x = 1")  # expect W107  # routers: allow W106 - another rule
