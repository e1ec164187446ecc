"""Django's database router: the one place that turns a model and an account into an alias."""

from typing import Any

from django.apps import apps
from django.db import models

from routers.conf import CATALOG, settings
from routers.context import current_scope
from routers.exceptions import UnknownPlacement
from routers.guards import refuse_cross_account, refuse_foreign_instance, required_scope
from routers.placement import Placement, placement_of, placement_of_name
from routers.replicas.units import wrote

__all__ = ["ShardRouter"]


class ShardRouter:
    """Sharded models to the account's shard, global ones to the catalog, reference ones to both.

    Reference models are read from the account's own shard, so that joins work, and written in the
    catalog. Where a read may go to a replica, the queryset says so when it runs: an alias taken
    here may be used after a write.
    """

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str:
        match placement_of(model):
            case Placement.SHARDED:
                return self._shard_for(model, hints)
            case Placement.REFERENCE:
                return self._nearest_copy()
            case _:
                return CATALOG

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str:
        if placement_of(model) is not Placement.SHARDED:
            return CATALOG
        alias = self._shard_for(model, hints)
        if settings().recorded:
            wrote(alias, required_scope(model).account_id)
        return alias

    def allow_relation(self, one: models.Model, other: models.Model, **hints: Any) -> bool | None:
        """Rows of one account, and reference rows beside anything. Raises CrossAccount."""
        placements = {placement_of(type(one)), placement_of(type(other))}
        if placements == {Placement.SHARDED, Placement.GLOBAL}:
            return False
        refuse_cross_account(one, other)
        return True

    def allow_migrate(
        self, db: str, app_label: str, model_name: str | None = None, **hints: Any
    ) -> bool | None:
        """Whether an operation runs on that database. Raises UnknownPlacement where none can tell.

        RunSQL and RunPython say it by `hints={"placement": "sharded"}`.
        """
        if db != CATALOG and db not in settings().shards:
            return False
        placement = self._migrated_placement(app_label, model_name, hints)
        if placement is Placement.REFERENCE:
            return True
        return (db == CATALOG) == (placement is Placement.GLOBAL)

    @staticmethod
    def _shard_for(model: type[models.Model], hints: dict[str, Any]) -> str:
        scope = required_scope(model)
        if hints:
            refuse_foreign_instance(scope, hints.get("instance"))
        return scope.alias()

    @staticmethod
    def _nearest_copy() -> str:
        scope = current_scope()
        return scope.alias() if scope else CATALOG

    @staticmethod
    def _migrated_placement(
        app_label: str, model_name: str | None, hints: dict[str, Any]
    ) -> Placement:
        if "placement" in hints:
            return Placement(hints["placement"])
        if model_name is not None:
            return placement_of_name(app_label, model_name)
        placements = {placement_of(model) for model in apps.get_app_config(app_label).get_models()}
        if placements <= {Placement.GLOBAL}:
            return Placement.GLOBAL
        raise UnknownPlacement(
            f"A RunSQL or RunPython in the migrations of {app_label} does not say where it runs. "
            f'Give it hints={{"placement": "sharded"}} (or "reference", "global").'
        )
