"""A project of its own with migrations, on databases that a test makes for itself.

LEDGER_DATABASES is Django's DATABASES as JSON; LEDGER_MIGRATIONS names another package
of migrations.
"""

import json
import os

SECRET_KEY = "tests only"
USE_TZ = True
INSTALLED_APPS = ["routers", "tests.unit.routers.ledgerapp"]
DATABASE_ROUTERS = ["routers.router.ShardRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = json.loads(os.environ["LEDGER_DATABASES"])
SHARDING = {
    "SHARDS": {alias: int(alias.removeprefix("shard")) for alias in DATABASES if alias != "default"}
}
MIGRATION_MODULES = {
    "ledgerapp": os.environ.get("LEDGER_MIGRATIONS", "tests.unit.routers.ledgerapp.migrations")
}
