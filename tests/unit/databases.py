"""Databases of a test project: SQLite in memory, or those that FULCRUM_CONFIG names."""

import json
import os
from pathlib import Path

__all__ = ["database"]

CONFIG = os.environ.get("FULCRUM_CONFIG")


def database(alias: str) -> dict[str, object]:
    """An entry of DATABASES."""
    if not CONFIG:
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    given = json.loads(Path(CONFIG).read_text())["databases"][alias]
    return {
        "ENGINE": "django.db.backends.postgresql",
        "DISABLE_SERVER_SIDE_CURSORS": True,
        **{key.upper(): given[key] for key in ("host", "port", "name", "user", "password")},
    }
