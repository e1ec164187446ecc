"""Accounts that move while they are written to, on PostgreSQL: the mover as the tables' owner."""

import io
import json
import os
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test.utils import override_settings

from routers.direct import LOCK_CLASS, MIGRATING
from routers.models import Move
from routers.moving import copying, settling
from routers.moving.errors import ContentDiffers, MoveRefused, MoveUndone, MoveUnsettled
from routers.moving.move import move_account, move_back
from routers.moving.opening import open_side
from routers.moving.plan import plan_move
from routers.moving.settling import release, resume_moves
from routers.moving.signals import account_moved
from routers.moving.steps import STEPS, Options
from routers.shard_map import refresh_map
from tests.unit.databases import CONFIG
from tests.unit.routers.moving_stage import (
    ACCOUNT,
    NEIGHBOUR,
    OTHER,
    SOURCE,
    TARGET,
    Hook,
    Writer,
    ask,
    checksums,
    connect,
    fill,
    rows_of,
    stage,
)

pytestmark = pytest.mark.skipif(not CONFIG, reason="accounts move between PostgreSQL servers")
ORDER = "INSERT INTO shop_order (account_id, title) VALUES (%s, %s)"
FILLED = 5 + 300 + 300 + 41
FORWARD = {"given up", "owned", "published", "cleaned"}


@pytest.fixture(autouse=True)
def on_stage(
    django_db_setup: None, django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> Iterator[None]:
    monkeypatch.setattr(settling, "MARGIN_SECONDS", 0.0)
    sharding = {**settings.SHARDING, "OWNER_SECONDS": 0.0}
    with django_db_blocker.unblock(), override_settings(SHARDING=sharding), stage():
        yield


@pytest.fixture
def writers() -> Iterator[list[Writer]]:
    """Four on the account, one beside it."""
    fill()
    fill(NEIGHBOUR)
    started = [Writer(f"writer {number}") for number in range(4)]
    started.append(Writer("neighbour", NEIGHBOUR))
    for writer in started:
        writer.wait_for(1)
    yield started
    for writer in started:
        writer.stop()


def titles(alias: str, account: int = ACCOUNT) -> list[str]:
    found = ask(alias, f"SELECT title FROM shop_order WHERE account_id = {account}")
    return [title for (title,) in found]


def home(account: int = ACCOUNT) -> str:
    """What all say together: the map, and each shard's answer to a write."""
    taking = []
    for alias in (SOURCE, TARGET, OTHER):
        with closing(connect(alias)) as session, session.cursor() as cursor:
            try:
                cursor.execute(ORDER, [account, "asked"])
                taking.append(alias)
            except psycopg2.Error as error:
                if not str(error.pgcode).startswith("FU"):
                    raise
            session.rollback()
    mapped = refresh_map().shard_of(account)
    assert mapped in taking
    return mapped


def is_clean(*empty: str) -> None:
    """Nothing is left on these shards, and nothing is unfinished anywhere."""
    for alias in empty:
        assert rows_of(alias) == 0
    for alias in (SOURCE, TARGET):
        assert ask(alias, "SELECT count(*) FROM routers_owner_captured") == [(0,)]
        states = ask(alias, "SELECT state FROM routers_owner_account")
        assert set(states) <= {("moved",), ("owner",)}
    assert not Move.objects.filter(finished_at=None).exists()


def test_every_acknowledged_write_is_on_the_target_once(writers: list[Writer]) -> None:
    hook = Hook("waited", lambda: writers[0].wait_for(3))
    row = move_account(ACCOUNT, TARGET, watcher=hook)
    for writer in writers:
        writer.wait_for(2)
        writer.stop()
    assert [step for step in hook.seen if step in STEPS] == hook.seen
    assert home() == TARGET
    assert {writer.alias for writer in writers[:4]} == {TARGET}
    expected = sorted(title for writer in writers[:4] for title in writer.acknowledged)
    there = sorted(title for title in titles(TARGET) if title.startswith("writer"))
    assert there == expected
    bumps = f"SELECT positive FROM shop_everything WHERE account_id = {ACCOUNT} AND slug = ''"
    assert ask(TARGET, bumps) == [(len(expected),)]
    is_clean(SOURCE)
    assert row.outcome == Move.Outcome.DONE
    assert writers[4].refusals == set()


def test_content_of_every_type_arrives_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "BATCH_ROWS", 100)  # deleted in several batches
    fill()
    before = checksums(SOURCE)
    heard: list[Any] = []

    def listen(**about: Any) -> None:
        heard.append((about["account_id"], about["source"], about["target"]))

    account_moved.connect(listen)
    try:
        move_account(ACCOUNT, TARGET)
    finally:
        account_moved.disconnect(listen)
    assert checksums(TARGET) == before
    assert before["shop_everything"][0] == 41
    assert heard == [(ACCOUNT, SOURCE, TARGET)]
    is_clean(SOURCE)


def late_write(outcome: list[str | None]) -> None:
    """After the last keys were carried over, before the owner changes."""
    with closing(connect(SOURCE)) as session:
        try:
            session.cursor().execute(ORDER, [ACCOUNT, "late"])
            session.commit()
            outcome.append(None)
        except psycopg2.Error as error:
            outcome.append(error.pgcode)


@pytest.mark.parametrize("fence", [True, False])
def test_without_the_fence_a_write_is_lost(fence: bool) -> None:
    fill()
    outcome: list[str | None] = []
    hook = Hook("replayed", lambda: late_write(outcome))
    move_account(ACCOUNT, TARGET, Options(fence=fence), hook)
    if fence:
        assert outcome == ["FU001"]
    else:
        assert outcome == [None]  # acknowledged,
        assert "late" not in titles(TARGET) + titles(SOURCE)  # and gone


@pytest.mark.parametrize("step", STEPS)
def test_a_mover_that_is_killed_leaves_what_the_next_run_settles(step: str) -> None:
    fill()
    with closing(connect(SOURCE)) as session, session:
        session.cursor().execute(ORDER, [ACCOUNT, "before"])

    def write() -> None:
        with closing(connect(SOURCE)) as session, session:
            session.cursor().execute(ORDER, [ACCOUNT, "meanwhile"])

    for alias in connections:
        connections[alias].close()
    child = os.fork()
    if child == 0:
        hooks = Both(Hook("waited", write), Hook(step, lambda: os._exit(9)))
        try:
            move_account(ACCOUNT, TARGET, watcher=hooks)
        finally:
            os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    settled = resume_moves()
    assert [error for _, error in settled if error] == []
    there, away = (TARGET, SOURCE) if step in FORWARD else (SOURCE, TARGET)
    assert home() == there
    is_clean(away)
    written = {"before"} if STEPS.index(step) < STEPS.index("waited") else {"before", "meanwhile"}
    assert {"before", "meanwhile"} & set(titles(there)) == written
    assert rows_of(there) == FILLED + len(written)
    assert resume_moves() == []


def hang_up(alias: str) -> None:
    """End the mover's sessions there, as a server that falls down does."""
    ask(
        alias,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE application_name LIKE 'move %' AND datname = current_database()",
    )


@pytest.mark.parametrize("alias", [SOURCE, TARGET])
@pytest.mark.parametrize("step", ["incoming", "captured", "waited", "copied", *STEPS[6:12]])
def test_a_server_that_hangs_up_leaves_a_settled_move(step: str, alias: str) -> None:
    fill()
    forward = step in FORWARD or (step, alias) == ("replayed", TARGET)  # given up already
    try:
        move_account(ACCOUNT, TARGET, watcher=Hook(step, lambda: hang_up(alias)))
    except MoveUndone:
        assert not forward
    else:
        assert forward
    assert home() == (TARGET if forward else SOURCE)
    is_clean(SOURCE if forward else TARGET)
    assert rows_of(TARGET if forward else SOURCE) == FILLED


@pytest.mark.parametrize("step", ["captured", "given up"])
def test_a_catalog_that_hangs_up_does_not_stop_a_move(step: str) -> None:
    fill()
    hang_up_here = Hook(step, lambda: connections["default"].connection.close())
    assert move_account(ACCOUNT, TARGET, watcher=hang_up_here).outcome == Move.Outcome.DONE
    assert home() == TARGET
    is_clean(SOURCE)


class Both:
    """Two hooks in turn."""

    def __init__(self, *hooks: Hook) -> None:
        self.hooks = hooks

    def at(self, step: str) -> None:
        for hook in self.hooks:
            hook.at(step)

    def copied(self, size: int) -> None: ...


def test_a_corrupted_row_is_caught_and_the_move_undone() -> None:
    fill()
    before = checksums(SOURCE)
    spoil = f"""UPDATE shop_everything SET price = 1.5001 WHERE id =
        (SELECT max(id) FROM shop_everything WHERE account_id = {ACCOUNT})"""
    with pytest.raises(MoveUndone, match="shop_everything of account 98000 differs") as info:
        move_account(ACCOUNT, TARGET, watcher=Hook("copied", lambda: ask(TARGET, spoil)))
    assert isinstance(info.value.__cause__, ContentDiffers)
    assert checksums(SOURCE) == before
    assert home() == SOURCE
    is_clean(TARGET)


def test_an_account_without_rows_moves() -> None:
    row = move_account(ACCOUNT, TARGET)
    assert (row.rows, home()) == (0, TARGET)
    is_clean(SOURCE)


def test_plans_that_cannot_be() -> None:
    fill()
    with pytest.raises(MoveRefused, match="is on shard01 already"):
        plan_move(ACCOUNT, SOURCE)
    with pytest.raises(MoveRefused, match="'shard09' is no shard"):
        plan_move(ACCOUNT, "shard09")
    ask(SOURCE, f"INSERT INTO routers_owner_account VALUES ({ACCOUNT}, 'moved', 1, '{OTHER}')")
    with pytest.raises(MoveRefused, match="moved to shard03"):
        plan_move(ACCOUNT, TARGET)
    ask(SOURCE, "DELETE FROM routers_owner_account")
    fill(alias=TARGET)
    with pytest.raises(MoveRefused, match="or has rows of it"):
        plan_move(ACCOUNT, TARGET)
    assert not Move.objects.exists()


def test_a_plan_counts() -> None:
    fill(rows=300)
    plan = plan_move(ACCOUNT, TARGET)
    assert plan.tables["shop_order"][0] == 300
    assert plan.rows == FILLED
    assert plan.bytes > plan.rows * 20


@pytest.mark.parametrize(
    ("change", "back", "named"),
    [
        ("ADD COLUMN colour text", "DROP COLUMN colour", "shop_tag the column colour"),
        ("ADD CHECK (name <> 'x')", "DROP CONSTRAINT shop_tag_name_check", "CHECK"),
    ],
)
def test_drift_is_refused_by_name(change: str, back: str, named: str) -> None:
    ask(TARGET, f"ALTER TABLE shop_tag {change}")
    try:
        with pytest.raises(MoveRefused, match=named):
            plan_move(ACCOUNT, TARGET)
    finally:
        ask(TARGET, f"ALTER TABLE shop_tag {back}")


def test_missing_reference_data_is_refused() -> None:
    fill()
    ask(SOURCE, "INSERT INTO shop_currency VALUES ('XTS', 'test')")
    ask(SOURCE, f"UPDATE shop_order SET currency_id = 'XTS' WHERE account_id = {ACCOUNT}")
    try:
        with pytest.raises(MoveUndone, match="shard02 has no 'XTS' in \"shop_currency\""):
            move_account(ACCOUNT, TARGET)
    finally:
        ask(SOURCE, f"UPDATE shop_order SET currency_id = NULL WHERE account_id = {ACCOUNT}")
        ask(SOURCE, "DELETE FROM shop_currency WHERE code = 'XTS'")


def test_a_transaction_that_is_older_than_the_move_is_waited_for() -> None:
    fill()
    with closing(connect(SOURCE)) as session:
        session.cursor().execute(ORDER, [ACCOUNT, "older"])
        with pytest.raises(MoveUndone, match="transactions are open for more than"):
            move_account(ACCOUNT, TARGET, Options(wait=0.1))
        assert home() == SOURCE
        move_account(ACCOUNT, TARGET, watcher=Hook("captured", session.commit))
    assert "older" in titles(TARGET)
    is_clean(SOURCE)


def test_a_long_transaction_holds_the_fence_up_until_the_move_gives_up() -> None:
    fill()
    with closing(connect(SOURCE)) as session:
        begin = lambda: session.cursor().execute(ORDER, [ACCOUNT, "open"])  # noqa: E731
        few = Options(fence_tries=2, fence_milliseconds=20)
        with pytest.raises(MoveUndone, match="In 2 tries of 20 ms"):
            move_account(ACCOUNT, TARGET, few, Hook("caught up", begin))
        session.commit()
    assert "open" in titles(SOURCE)
    assert (home(), rows_of(TARGET)) == (SOURCE, 0)


def test_values_that_change_places_are_carried_over() -> None:
    """A unique value that went from one row to another, and a key that was changed."""
    fill()
    swap = f"""
        UPDATE shop_everything SET small = -1 WHERE account_id = {ACCOUNT} AND small = 1;
        UPDATE shop_everything SET small = 1 WHERE account_id = {ACCOUNT} AND small = 2;
        UPDATE shop_everything SET small = 2 WHERE account_id = {ACCOUNT} AND small = -1;
        UPDATE shop_tag SET id = id + 1 WHERE account_id = {ACCOUNT} AND name = 'tag 5';
        DELETE FROM shop_everything WHERE account_id = {ACCOUNT} AND small = 3;
    """

    def change() -> None:
        with closing(connect(SOURCE)) as session, session:
            session.cursor().execute(swap)
        wanted.update(checksums(SOURCE))

    wanted: dict[str, Any] = {}
    move_account(ACCOUNT, TARGET, watcher=Hook("compared", change))
    assert checksums(TARGET) == wanted


def test_the_way_back_loses_nothing() -> None:
    fill()
    row = move_account(ACCOUNT, TARGET, Options(keep=True))
    assert (row.outcome, home()) == (Move.Outcome.KEPT, TARGET)
    with pytest.raises(MoveRefused, match="is not finished"):
        move_account(ACCOUNT, OTHER)
    assert resume_moves() == []
    with closing(connect(TARGET)) as session, session:
        session.cursor().execute(ORDER, [ACCOUNT, "meanwhile"])
        session.cursor().execute(f"DELETE FROM shop_line WHERE account_id = {ACCOUNT}")
    wanted = checksums(TARGET)
    move_back(ACCOUNT)
    assert home() == SOURCE
    assert checksums(SOURCE) == wanted
    is_clean(TARGET)


def test_a_kept_copy_is_released() -> None:
    fill()
    wanted = checksums(SOURCE)
    release(move_account(ACCOUNT, TARGET, Options(keep=True)))
    assert (home(), checksums(TARGET)) == (TARGET, wanted)
    is_clean(SOURCE)
    with pytest.raises(MoveRefused, match="No old copy"):
        move_back(ACCOUNT)


def test_it_moves_on_and_home_again() -> None:
    fill()
    wanted = checksums(SOURCE)
    for target in (TARGET, OTHER, SOURCE):
        move_account(ACCOUNT, target)
        assert (home(), checksums(target)) == (target, wanted)
    assert ACCOUNT not in refresh_map().pins
    is_clean(TARGET, OTHER)


def command(*words: str) -> str:
    out = io.StringIO()
    call_command("shards", *words, stdout=out)
    return out.getvalue()


def test_the_command_plans_moves_and_tells() -> None:
    fill()
    fill(NEIGHBOUR)
    planned = command("move", str(ACCOUNT), str(NEIGHBOUR), "--to", TARGET, "--plan")
    assert re.search(rf"{ACCOUNT} +{SOURCE} +{TARGET} +{FILLED} +~", planned)
    accounts = (str(ACCOUNT), str(NEIGHBOUR))
    told = command("move", *accounts, "--to", TARGET, "--jobs", "2", "--limit", "100")
    for account in (ACCOUNT, NEIGHBOUR):
        assert f"account {account}, {SOURCE} to {TARGET}: compared" in told
        assert (home(account), rows_of(SOURCE, account)) == (TARGET, 0)
    found = json.loads(command("moves", "--json"))
    assert {move["outcome"] for move in found} == {"done"}
    assert {move["account"] for move in found} == {ACCOUNT, NEIGHBOUR}


def test_the_command_keeps_returns_and_releases() -> None:
    fill()
    assert "kept" in command("move", str(ACCOUNT), "--to", TARGET, "--keep")
    assert "done" in command("move", str(ACCOUNT), "--back")
    assert home() == SOURCE
    command("move", str(ACCOUNT), "--to", TARGET, "--keep")
    assert "done" in command("move", str(ACCOUNT), "--release")
    assert (home(), rows_of(SOURCE)) == (TARGET, 0)


def test_the_command_fails_with_what_was_in_the_way() -> None:
    fill()
    with pytest.raises(CommandError, match="Say where the accounts go"):
        command("move", str(ACCOUNT))
    with pytest.raises(CommandError, match="is on shard01 already"):
        command("move", str(ACCOUNT), "--to", SOURCE)
    with pytest.raises(SystemExit):
        command("move", str(ACCOUNT), "--back")
    assert command("move", "--resume", "--json") == '{"moves": [], "errors": {}}\n'


@pytest.mark.parametrize("holder", [SOURCE, TARGET])
def test_two_movers_of_one_account_do_not_meet(
    holder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill()
    with monkeypatch.context() as impatient, open_side(holder, ACCOUNT):
        impatient.setattr(settling, "PATIENCE_SECONDS", 0.1)
        with pytest.raises(MoveUnsettled, match="by another process"):
            move_account(ACCOUNT, TARGET)
    [(row, error)] = resume_moves()
    assert (row.outcome, error, home()) == (Move.Outcome.UNDONE, None, SOURCE)


def test_no_migration_runs_beside_a_move() -> None:
    fill()
    with closing(connect(TARGET, "site-owner")) as session:
        session.cursor().execute("SELECT pg_advisory_lock(%s, %s)", [LOCK_CLASS, MIGRATING])
        with pytest.raises(MoveUnsettled, match="shard02 is being migrated"):
            move_account(ACCOUNT, TARGET)
    assert resume_moves()[0][0].outcome == Move.Outcome.UNDONE


def test_a_receiver_that_fails_does_not_stop_a_move(caplog: pytest.LogCaptureFixture) -> None:
    def fail(**about: Any) -> None:
        raise ValueError("no cache")

    account_moved.connect(fail)
    try:
        assert move_account(ACCOUNT, TARGET).outcome == Move.Outcome.DONE
    finally:
        account_moved.disconnect(fail)
    assert "no cache" in caplog.text


def test_shards_that_were_told_forget_what_their_slots_say() -> None:
    for number, alias in enumerate((SOURCE, TARGET, OTHER)):
        ask(
            alias,
            f"INSERT INTO routers_owner_slot (slot, state, moved_to)"
            f" SELECT n, CASE n % 3 WHEN {number} THEN 'owner' ELSE 'moved' END,"
            f" CASE n % 3 WHEN {number} THEN NULL ELSE 'shard0' || n % 3 + 1 END"
            f" FROM generate_series(0, 4095) n; SELECT routers_compile_owner()",
        )
    known = "SELECT account_id, state, moved_to FROM routers_owner_account"
    fill()
    move_account(ACCOUNT, TARGET)
    assert ask(SOURCE, known) == [(ACCOUNT, "moved", TARGET)]
    assert ask(TARGET, known) == [(ACCOUNT, "owner", None)]
    assert (home(), home(NEIGHBOUR)) == (TARGET, SOURCE)
    move_account(ACCOUNT, OTHER)
    assert ask(TARGET, known) == [(ACCOUNT, "moved", OTHER)]
    assert ask(SOURCE, known) == [(ACCOUNT, "moved", OTHER)]
    move_account(ACCOUNT, SOURCE)
    assert [ask(alias, known) for alias in (SOURCE, TARGET, OTHER)] == [[], [], []]
    assert home() == SOURCE
    is_clean(TARGET, OTHER)
