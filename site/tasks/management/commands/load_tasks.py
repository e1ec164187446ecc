"""`manage.py load_tasks`: tasks and countries, into the catalog; done when every shard has them."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from routers import RoutingError
from routers.conf import CATALOG
from routers.reference.carry import wait_for_references
from tasks.services import load_countries, load_library


class Command(BaseCommand):
    help = "Loads tasks and countries, and waits for every shard's copy. Run again, it updates."

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic(using=CATALOG):
            tasks, countries = load_library(), load_countries()
        try:
            wait_for_references()
        except RoutingError as error:
            raise CommandError(
                f"Loaded into the catalog, and not everywhere yet. {error}"
            ) from error
        self.stdout.write(
            f"On the catalog and every shard: {tasks} tasks and {countries} countries."
        )
