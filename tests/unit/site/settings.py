"""The site's settings, for tests: SQLite in memory unless FULCRUM_CONFIG names servers."""

import os

from config.settings import *  # noqa: F403
from config.settings import CACHES, CACHING, DATABASES

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast, for tests only
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "models": CACHES["default"],
}
CELERY_TASK_ALWAYS_EAGER = True
CELERY_TASK_EAGER_PROPAGATES = True
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"

if not os.environ.get("FULCRUM_CONFIG"):
    DATABASES = {
        alias: {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"} for alias in DATABASES
    }
    CACHING = {"ENABLED": False}  # nothing is cached on SQLite, but fragments are looked at
CACHING = {**(CACHING or {}), "STRICT": True, "CACHE": "models", "PREFIX": "unit"}
