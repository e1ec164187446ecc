"""`manage.py load_tasks`: tasks and countries, into the catalog and every shard."""

from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction

from routers.conf import CATALOG
from routers.reference import publish_references
from tasks.services import load_countries, load_library


class Command(BaseCommand):
    help = "Loads tasks and countries, and copies them to every shard. Run again, it updates."

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic(using=CATALOG):
            load_library()
            load_countries()
        copies = publish_references()
        rows = ", ".join(f"{count} {label}" for label, count in copies.items())
        self.stdout.write(f"On the catalog and every shard: {rows}.")
