"""What a statement does to what is kept: nothing that is known, or to which places."""

import re
from typing import Any

from caching.places import Place, cached_tables, has_cached_accounts, of_account, of_tables
from routers.conf import CATALOG
from routers.context import current_scope

__all__ = ["concerned", "is_read"]

READS = frozenset(
    "SELECT SAVEPOINT RELEASE ROLLBACK SET RESET SHOW BEGIN START COMMIT END ABORT LISTEN UNLISTEN"
    " NOTIFY DECLARE FETCH MOVE CLOSE CREATE VACUUM ANALYZE REINDEX COMMENT GRANT REVOKE LOCK"
    " CHECKPOINT DEALLOCATE DISCARD PREPARE VALUES TABLE".split()
)
MAYBE = frozenset({"WITH", "EXPLAIN"})
WRITING = re.compile(r"\b(?:INSERT|UPDATE|DELETE|MERGE|TRUNCATE|CALL|DO|COPY|EXECUTE)\b", re.I)
FOR_UPDATE = re.compile(r"\bFOR\s+(?:NO\s+KEY\s+)?UPDATE\b", re.I)
TARGET = re.compile(r'\s*(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+(?:ONLY\s+)?"?(\w+)"?', re.I)
# They change no rows by themselves, and PostgreSQL runs most of them outside a transaction only.
ROWLESS = re.compile(
    r"\s*(?:ALTER|DROP)\s+(?:SUBSCRIPTION|PUBLICATION|INDEX|STATISTICS|DATABASE|SYSTEM)\b[^;]*;?\s*$",
    re.I,
)
FIRST_WORD = re.compile(r"[\s(]*(\w+)")


def is_read(sql: Any) -> bool:
    """Whether the statement is known to change no rows."""
    if not isinstance(sql, str):
        return False
    if sql[:7] == "SELECT " and ";" not in sql:
        return True
    found = FIRST_WORD.match(sql)
    word = found[1].upper() if found else ""
    if word not in READS and word not in MAYBE:
        return ROWLESS.match(sql) is not None
    return not WRITING.search(FOR_UPDATE.sub("", sql)) if word in MAYBE or ";" in sql else True


def concerned(alias: str, sql: Any) -> list[Place] | None:
    """The places whose entries may be wrong after that statement; None for all of the database."""
    if alias == CATALOG:
        tables = cached_tables()
        target = TARGET.match(sql) if isinstance(sql, str) and ";" not in sql else None
        if target:
            tables &= {target[1]}
        return [of_tables(frozenset({table})) for table in tables]
    if not has_cached_accounts():
        return []
    scope = current_scope()
    if scope is None or scope.account_id is None:
        return None
    return [of_account(scope)]
