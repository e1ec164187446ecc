"""How far each shard is with the reference models. Read by `manage.py reference status`."""

from dataclasses import asdict, dataclass

from django.db import Error, connections

from routers.conf import CATALOG, settings
from routers.reference.replication_slots import PUBLICATION, Slot, slot_of, slots

__all__ = ["CopyStatus", "copy_statuses"]

SUBSCRIPTION = """
    SELECT subenabled, (SELECT count(*) FROM pg_subscription_rel WHERE srsubid = s.oid),
           EXISTS (SELECT FROM pg_stat_subscription w WHERE w.subid = s.oid AND pid IS NOT NULL),
           coalesce((SELECT apply_error_count FROM pg_stat_subscription_stats e
                     WHERE e.subid = s.oid), 0)
    FROM pg_subscription s
    WHERE subname = %s
      AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@dataclass
class CopyStatus:
    """`behind_bytes` and `kept_bytes` are WAL in the catalog: not received yet, and kept for it.

    `state` is running, waiting (it tries again by itself), disabled, none, or in-process (SQLite).
    """

    shard: str
    state: str = "none"
    tables: int | None = None
    errors: int | None = None
    behind_bytes: int | None = None
    kept_bytes: int | None = None
    problem: str = ""

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def copy_statuses() -> list[CopyStatus]:
    """Every shard's, sorted by name, then slots in the catalog that belong to no shard."""
    shards = sorted(settings().shards)
    if connections[CATALOG].vendor != "postgresql":
        return [CopyStatus(shard, "in-process") for shard in shards]
    found = {slot.name: slot for slot in slots()}
    statuses = [_status(shard, found.pop(slot_of(shard), None)) for shard in shards]
    return statuses + [
        CopyStatus(
            name.removeprefix(f"{PUBLICATION}_"),
            behind_bytes=slot.behind,
            kept_bytes=slot.kept,
            problem="its slot keeps WAL for no shard: manage.py reference unsubscribe "
            + name.removeprefix(f"{PUBLICATION}_"),
        )
        for name, slot in sorted(found.items())
    ]


def _status(shard: str, slot: Slot | None) -> CopyStatus:
    status = CopyStatus(shard)
    try:
        with connections[shard].cursor() as cursor:
            cursor.execute(SUBSCRIPTION, [slot_of(shard)])
            found = cursor.fetchone()
    except Error as error:
        status.state, status.problem, found = "?", str(error).strip(), None
    if found:
        enabled, status.tables, works, status.errors = found
        status.state = "disabled" if not enabled else "running" if works else "waiting"
    if slot:
        status.behind_bytes, status.kept_bytes = slot.behind, slot.kept
    status.problem = status.problem or _problem(status, slot)
    return status


def _problem(status: CopyStatus, slot: Slot | None) -> str:
    if status.state == "none" and slot is None:
        return "not subscribed: manage.py reference subscribe"
    if status.state == "none":
        return "a slot and no subscription: manage.py reference subscribe"
    if slot is None or slot.state == "lost":
        return "the catalog keeps nothing for it: manage.py reference subscribe"
    if status.state == "disabled":
        return "disabled: manage.py reference subscribe"
    if status.errors and not slot.active:
        return "it cannot apply (its server's log says why): manage.py reference repair"
    return "" if slot.active else "not connected to the catalog"
