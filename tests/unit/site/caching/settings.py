"""A Django project that has `routers` and `caching` and nothing of the site."""

import os

from tests.unit.databases import CONFIG, database

SECRET_KEY = "tests only"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "routers",
    "caching",
    "tests.unit.site.caching.shelf",
]
DATABASE_ROUTERS = ["routers.router.ShardRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SHARDING = {"SHARDS": {"shard01": 1, "shard02": 2}}


DATABASES = {alias: database(alias) for alias in ("default", "shard01", "shard02")}

if CONFIG:  # nothing is cached on SQLite
    # A Redis of the tests' own, which they stop and empty: see conftest.
    CACHES = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": f"redis://127.0.0.1:{os.environ.get('CACHING_TEST_PORT', '26390')}/0",
        }
    }
    CACHING = {
        "ANSWER_SECONDS": 2.0,  # a Redis that is slow, on a busy machine, is not away
        "LEASE_SECONDS": 0.2,
        "OFF_SECONDS": 0.2,
        "PATIENCE_SECONDS": 0.2,
        "REST_SECONDS": 0.2,
    }
