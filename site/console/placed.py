"""What the console shows of accounts: the map as a picture, the largest and the busiest."""

from typing import Any

from django.db import Error
from django.utils import timezone

from accounts.models import Account
from console.busiest import HOURS, busiest
from console.slots import COLUMNS, slot_picture
from routers.exceptions import RoutingError

__all__ = ["placed"]


def placed() -> dict[str, Any]:
    """The context of console/placed.html. Never raises for something that is away."""
    found = busiest()
    return {
        "at": timezone.now(),
        "picture": slot_picture(),
        "columns": COLUMNS,
        "found": found and _with_names(found),
        "hours": HOURS,
    }


def _with_names(found: dict[str, Any]) -> dict[str, Any]:
    """Each account with its `name`, in one query; by its id alone while the catalog is away."""
    loads = [*found["largest"], *found["busiest"]]
    try:
        wanted = Account.objects.filter(pk__in={load["account"] for load in loads})
        names = dict(wanted.values_list("pk", "name"))
    except (Error, RoutingError):
        names = {}
    for load in loads:
        load["name"] = names.get(load["account"])
    return found
