"""A Django project that has `routers` and nothing of the site: what a team that takes it has."""

from tests.unit.databases import CONFIG, database

SECRET_KEY = "tests only"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "routers",
    "tests.unit.routers.shop",
]
# The admin's tests. On PostgreSQL the catalog is the site suite's too, with users of its own.
if not CONFIG:
    INSTALLED_APPS += [
        "django.contrib.auth",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.admin",
    ]
    # Its middleware and templates are set by those tests alone.
    SILENCED_SYSTEM_CHECKS = ["admin.E403", "admin.E408", "admin.E409", "admin.E410"]
if CONFIG:
    INSTALLED_APPS += ["django.contrib.postgres"]
DATABASE_ROUTERS = ["routers.router.ShardRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "tests.unit.routers.urls"
MIDDLEWARE = ["routers.middleware.AccountMiddleware"]

_ALIASES = ["default", "shard01", "shard02", "shard03"]


DATABASES = {alias: database(alias) for alias in _ALIASES}
SHARDING = {
    "SHARDS": {"shard01": 1, "shard02": 2, "shard03": 3},
    "ACCOUNT_FROM_SLUG": "tests.unit.routers.urls.account_of_slug",
    "RETIRED_MODELS": {"shop.basket": "sharded"},
}
