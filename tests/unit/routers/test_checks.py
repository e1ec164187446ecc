import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.test.utils import isolate_apps

from routers import checks
from routers.conf import settings
from routers.managers import AccountQuerySet
from routers.models import ShardedModel
from tests.unit.routers.shop.models import Currency, Order


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch):  # noqa: ANN201
    """Check just this model."""

    def check(model: type[models.Model]) -> list[str]:
        monkeypatch.setattr(checks, "sharded_models", lambda: [model])
        return [problem.id for problem in checks.check_models(None)]

    return check


def test_this_project_passes() -> None:
    assert checks.check_settings(None) == checks.check_models(None) == []


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"SHARDS": {"shard01": 1, "shard02": 1}}, "routers.E003"),
        ({"SHARDS": {"shard01": 512}}, "routers.E003"),
        ({"SHARDS": {"shard09": 1}}, "routers.E001"),
        ({"SHARDS": {"default": 1}}, "routers.E002"),
    ],
)
def test_wrong_shards_are_found(changed: dict, problem: str, settings) -> None:  # noqa: ANN001
    settings.SHARDING = changed
    assert [found.id for found in checks.check_settings(None)] == [problem]


def test_missing_router_is_found(settings) -> None:  # noqa: ANN001
    settings.DATABASE_ROUTERS = []
    assert [found.id for found in checks.check_settings(None)] == ["routers.E004"]


def test_settings_are_read_again_when_they_change(settings) -> None:  # noqa: ANN001
    from routers.conf import settings as library_settings

    settings.SHARDING = {"SHARDS": {"shard02": 2}}
    assert list(library_settings().shards) == ["shard02"]


def test_library_settings_are_memoised() -> None:
    assert settings() is settings()


@isolate_apps("tests.unit.routers.shop")
def test_meta_that_is_not_inherited_is_found(only) -> None:  # noqa: ANN001
    class Bare(ShardedModel):
        class Meta:
            app_label = "shop"

    assert only(Bare) == ["routers.E005"]


@isolate_apps("tests.unit.routers.shop")
def test_manager_that_does_not_filter_is_found(only) -> None:  # noqa: ANN001
    class Open(ShardedModel):
        everything = models.Manager()

        class Meta(ShardedModel.Meta):
            app_label = "shop"

    assert only(Open) == ["routers.E008"]


@isolate_apps("tests.unit.routers.shop")
def test_way_back_from_a_reference_model_is_found(only) -> None:  # noqa: ANN001
    class Price(ShardedModel):
        currency = models.ForeignKey(Currency, on_delete=models.PROTECT)

        class Meta(ShardedModel.Meta):
            app_label = "shop"

    assert only(Price) == ["routers.E009"]


@isolate_apps("tests.unit.routers.shop", "django.contrib.contenttypes")
def test_many_to_many_without_an_account_and_catalog_reference_are_found(only) -> None:  # noqa: ANN001
    class Wrong(ShardedModel):
        others = models.ManyToManyField("self")
        kind = models.ForeignKey(ContentType, on_delete=models.CASCADE)

        class Meta(ShardedModel.Meta):
            app_label = "shop"

    assert sorted(only(Wrong)) == ["routers.E006", "routers.E007"]


@isolate_apps("tests.unit.routers.shop")
def test_child_of_a_model_with_a_table_is_found(only) -> None:  # noqa: ANN001
    class Special(Order):
        class Meta:
            app_label = "shop"

    assert "routers.E010" in only(Special)


class Everything(models.Manager):
    """Somebody's own, past the account's filter."""


@isolate_apps("tests.unit.routers.shop")
def test_a_manager_that_does_not_filter_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Receipt(ShardedModel):
        objects = AccountQuerySet.as_manager()
        every = Everything()

        class Meta(ShardedModel.Meta):
            app_label = "shop"

    class Copy(Receipt):
        objects = Everything()

        class Meta:
            app_label = "shop"
            proxy = True

    for model, names in ((Receipt, ["every"]), (Copy, ["every", "objects"])):
        found = {problem.msg.split()[0] for problem in checks._manager_problems(model)}
        assert found == {f"{model._meta.label}.{name}" for name in names}
    monkeypatch.setattr(checks.apps, "get_models", lambda: [Copy])
    with pytest.raises(ImproperlyConfigured, match=r"E008.*Copy"):
        checks.refuse_leaks()


@isolate_apps("tests.unit.routers.shop")
def test_unique_without_the_account_is_told() -> None:
    class Receipt(ShardedModel):
        number = models.IntegerField(unique=True)
        code = models.CharField(max_length=5)
        order = models.OneToOneField("shop.Order", on_delete=models.CASCADE)

        class Meta(ShardedModel.Meta):
            app_label = "shop"
            constraints = [
                *ShardedModel.Meta.constraints,
                models.UniqueConstraint(fields=["code"], name="code"),
                models.UniqueConstraint(fields=["account_id", "code"], name="both"),
            ]

    found = [problem.msg.partition(" over ")[0] for problem in checks._unique_problems(Receipt)]
    assert found == ["shop.Receipt is unique by number", "shop.Receipt is unique by code"]
