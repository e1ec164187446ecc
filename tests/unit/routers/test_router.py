from types import SimpleNamespace

import pytest
from django.contrib.contenttypes.models import ContentType

from routers import UnknownPlacement, account_context
from routers.placement import Placement, placement_of, reference_models, sharded_models
from routers.router import ShardRouter
from tests.unit.routers.shop.models import Currency, Everything, Line, Order, Plan, Tag, Tagging

router = ShardRouter()


def test_placements() -> None:
    placed = [placement_of(model) for model in (Order, Currency, Plan, ContentType)]
    assert placed == ["sharded", "reference", "global", "global"]
    assert sharded_models() == [Everything, Line, Order, Tag, Tagging]
    assert reference_models() == [Currency]


@pytest.mark.parametrize(
    ("model", "catalog", "shard"),
    [("order", False, True), ("currency", True, True), ("plan", True, False)],
)
def test_tables_are_made_where_their_model_lives(model: str, catalog: bool, shard: bool) -> None:
    assert router.allow_migrate("default", "shop", model) is catalog
    assert router.allow_migrate("shard01", "shop", model) is shard


def test_deleted_model_is_remembered_by_settings() -> None:
    assert router.allow_migrate("shard01", "shop", "Basket") is True
    with pytest.raises(UnknownPlacement, match=r"shop\.gone.*RETIRED_MODELS"):
        router.allow_migrate("shard01", "shop", "Gone")


def test_operation_that_does_not_say_where_is_refused() -> None:
    with pytest.raises(UnknownPlacement, match="does not say where it runs"):
        router.allow_migrate("shard01", "shop")
    assert router.allow_migrate("shard01", "shop", placement="sharded") is True
    assert router.allow_migrate("default", "shop", placement="sharded") is False
    assert router.allow_migrate("shard01", "contenttypes") is False


def test_database_that_is_no_shard_is_left_alone() -> None:
    assert router.allow_migrate("warehouse", "shop", "order") is False


def test_global_and_sharded_rows_are_not_related() -> None:
    order = Order(account_id=1)
    assert router.allow_relation(order, Plan()) is False
    assert router.allow_relation(order, Line(account_id=1)) is True
    assert router.allow_relation(order, Currency()) is True


def test_reads_and_writes_of_an_account_go_to_its_shard() -> None:
    with account_context(1):
        assert router.db_for_read(Order) == router.db_for_write(Order) == "shard02"
        assert router.db_for_read(Currency) == "shard02"
        assert router.db_for_write(Currency) == "default"
        assert router.db_for_read(Plan) == "default"


def test_routing_uses_the_real_map_and_no_hint_of_another_object() -> None:
    with account_context(1):
        assert router.db_for_read(Order, instance=SimpleNamespace(account_id=2)) == "shard02"


def test_placement_names_are_the_words_of_the_settings() -> None:
    assert [str(kind) for kind in Placement] == ["sharded", "reference", "global"]
