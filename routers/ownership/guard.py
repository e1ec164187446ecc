"""On each connection of the application: refusals become errors, reads of an old copy are refused.

An execute wrapper of Django's. It does nothing for statements outside any `account_context`, nor on
SQLite, where no shard ever gives an account away. A server-side cursor and `copy_expert` pass it
by; the database's own triggers do not.
"""

import re
import time
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError

from routers.conf import settings
from routers.context import current_account
from routers.direct import sqlstate
from routers.exceptions import AccountElsewhere, AccountMoved, AccountMoving, AccountNotHere
from routers.ownership.attempt import current_attempt
from routers.ownership.states import MOVED_ELSEWHERE, MOVING, NOT_HERE

__all__ = ["forget_answers", "protect", "refusal", "without_question"]

MOST_ANSWERS = 50_000
QUESTION = re.compile(r"SELECT routers_require_(?:owner|readable)\(\d+\); ")
READS = ("SELECT", "WITH")
COUNTED = ("UPDATE", "DELETE")
HARMLESS = ("SELECT", "SAVEPOINT", "RELEASE", "ROLLBACK", "SET", "SHOW", "EXPLAIN")

_able: set[str] = set()  # aliases of shards that have been migrated so far
_answers: dict[tuple[str, int], float] = {}  # (alias, account) → time.monotonic() of "yes, here"


def protect(sender: object, connection: Any, **kwargs: object) -> None:
    """Django's `connection_created`. Asks a shard once a process whether it can refuse anything."""
    if connection.vendor != "postgresql":
        return
    if _guard not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, _guard)  # first: others end by popping
    alias = connection.alias
    if alias not in _able and settings().primary_of(alias) in settings().shards:
        # By the driver's cursor, for it is no query of the project's; its errors are Django's.
        with connection.wrap_database_errors, connection.connection.cursor() as cursor:
            cursor.execute("SELECT to_regproc('routers_require_readable') IS NOT NULL")
            if cursor.fetchone()[0]:
                _able.add(alias)


def forget_answers() -> None:
    """Ask again before the next read of each account."""
    _answers.clear()


def refusal(error: BaseException, alias: str, account_id: int | None) -> AccountElsewhere | None:
    """What a driver's or Django's error says of ownership, if anything."""
    told = str(error).partition("\n")[0]
    match sqlstate(error) or getattr(error, "pgcode", None):
        case code if code == MOVING:
            return AccountMoving(account_id, alias, told)
        case code if code == MOVED_ELSEWHERE:
            shard = _detail(error.__cause__ or error)
            return AccountMoved(account_id, alias, told, shard)
        case code if code == NOT_HERE:
            return AccountNotHere(account_id, alias, told)
    return None


def _detail(error: Any) -> str:
    return str(error.diag.message_detail or "")


def _guard(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    connection, account_id = context["connection"], current_account()
    verb = _verb(sql)
    attempt = current_attempt()
    if attempt is not None and verb not in HARMLESS:
        attempt.writes(connection)
    try:
        if account_id is None or connection.alias not in _able or verb == "":
            return execute(sql, params, many, context)
        if verb in READS:
            return _read(execute, sql, params, many, context, account_id)
        result = execute(sql, params, many, context)
        if verb in COUNTED and (many or context["cursor"].cursor.rowcount == 0):
            return execute(_require("owner", account_id) + sql, params, many, context)
        return result
    except DatabaseError as error:
        refused = refusal(error, connection.alias, account_id)
        if refused is None:
            raise
        _answers.pop((connection.alias, account_id or 0), None)
        if attempt is not None:
            attempt.refused(connection, wrote=verb not in HARMLESS)
        raise refused from error


def _read(
    execute: Callable[..., Any],
    sql: str,
    params: Any,
    many: bool,
    context: dict[str, Any],
    account_id: int,
) -> Any:
    """The read; before it, in the same message, the question whether the account may be read."""
    key, now = (context["connection"].alias, account_id), time.monotonic()
    asked_at = _answers.get(key)
    if asked_at is not None and now - asked_at < settings().owner_seconds:
        return execute(sql, params, many, context)
    if many or getattr(context["cursor"].cursor, "name", None):  # one statement only
        return execute(sql, params, many, context)
    result = execute(_require("readable", account_id) + sql, params, many, context)
    if len(_answers) >= MOST_ANSWERS:
        _answers.clear()
    _answers[key] = now
    return result


def _require(what: str, account_id: int) -> str:
    return f"SELECT routers_require_{what}({account_id}); "


def without_question(sql: str) -> str:
    """The statement as the project made it, for an execute wrapper that stands behind the guard."""
    return sql[found.end() :] if (found := QUESTION.match(sql)) else sql


def _verb(sql: Any) -> str:
    """The first word; nothing of what is no text, or begins with a comment or a bracket."""
    if not isinstance(sql, str):
        return ""
    return sql[:40].lstrip().partition(" ")[0].upper()
