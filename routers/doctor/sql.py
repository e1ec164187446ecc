"""What SQL must not do behind a pooler in transaction mode: leave anything behind in its session.

The next transaction may be another client's, and ours may be given another session.
"""

import re
from collections.abc import Iterator

__all__ = ["HOLE", "problems_of_sql", "tables_in"]

HOLE = "\0"
"""Stands in a text for what is only known when the program runs."""

COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
FLAGS = re.IGNORECASE | re.DOTALL
ADVISORY_LOCK = re.compile(r"\bpg_(?:try_)?advisory_(?:un)?lock(?:_shared|_all)?\s*\(", FLAGS)
SET = re.compile(r"\s*SET\s+(?!LOCAL\b|TRANSACTION\b|CONSTRAINTS\b)(?:SESSION\s+)?(\S+)", FLAGS)
SET_CONFIG = re.compile(r"\bset_config\s*\(([^()]*),\s*(?:false|'f(?:alse)?')\s*\)", FLAGS)
LISTEN = re.compile(r"\s*(?:UN)?LISTEN\b", FLAGS)
TEMPORARY = re.compile(r"\b(?:CREATE\s+(?:LOCAL\s+|GLOBAL\s+)?|INTO\s+)TEMP(?:ORARY)?\b", FLAGS)
ON_COMMIT_DROP = re.compile(r"\bON\s+COMMIT\s+DROP\b", FLAGS)
PREPARE = re.compile(r"\s*(?:PREPARE\s+(?!TRANSACTION\b)|EXECUTE\s|DEALLOCATE\b)", FLAGS)
DECLARE = re.compile(r"\s*DECLARE\s+\S+\s+[\w\s]*?CURSOR\b(\s+WITH\s+HOLD\b)?", FLAGS)


def problems_of_sql(sql: str, *, in_transaction: bool) -> Iterator[tuple[str, str]]:
    """Rule and what was seen, for each statement of a text that uses a session's state."""
    for statement in COMMENT.sub(" ", sql).split(";"):
        seen = " ".join(statement.replace(HOLE, "…").split())[:60]
        for rule in _rules_broken(statement, in_transaction):
            yield rule, seen


def tables_in(sql: str, tables: frozenset[str]) -> list[str]:
    """Those of the tables that the text names, sorted."""
    return sorted(tables & set(re.findall(r"\w+", COMMENT.sub(" ", sql).lower())))


def _rules_broken(statement: str, in_transaction: bool) -> Iterator[str]:
    if ADVISORY_LOCK.search(statement):
        yield "W106"
    if set_ := SET.match(statement):
        yield "W111" if set_[1].lower().startswith("search_path") else "W107"
    if config := SET_CONFIG.search(statement):
        yield "W111" if "search_path" in config[1].lower() else "W107"
    if LISTEN.match(statement):
        yield "W108"
    if TEMPORARY.search(statement) and not (in_transaction and ON_COMMIT_DROP.search(statement)):
        yield "W109"
    if PREPARE.match(statement):
        yield "W110"
    if (declared := DECLARE.match(statement)) and (declared[1] or not in_transaction):
        yield "W104"
