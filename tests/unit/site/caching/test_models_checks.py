"""A model that looks cached and is not is found before it is used."""

from typing import Any

from django.apps import apps
from django.db import models
from django.test.utils import isolate_apps

from caching import checks
from caching.managers import CachingManager
from caching.mixins import CachingMixin, CachingReferenceMixin
from caching.places import is_cached
from caching.queryset import CachingAccountQuerySet
from routers.managers import AccountManager, AccountQuerySet
from routers.models import GlobalModel, ReferenceModel, ShardedModel
from tests.unit.site.caching.shelf.models import Book


def found(monkeypatch: Any, *models: Any) -> list[str]:
    monkeypatch.setattr(apps, "get_models", lambda *args, **kwargs: list(models))
    return [str(problem.id) for problem in checks.check_models(None)]


def test_the_tests_own_models_are_right() -> None:
    assert checks.check_models(None) == []


@isolate_apps("tests.unit.site.caching.shelf")
def test_what_a_mixin_gives_to_each_kind(monkeypatch: Any) -> None:
    class Order(CachingMixin, ShardedModel):
        class Meta(ShardedModel.Meta):
            app_label = "shelf"

    class Country(CachingReferenceMixin, ReferenceModel):
        class Meta:
            app_label = "shelf"

    class Account(CachingMixin, GlobalModel):
        class Meta:
            app_label = "shelf"

    for model in (Order, Country, Account):
        assert is_cached(model)
        assert model._default_manager.name == "objects"
        assert model._base_manager.caches  # type: ignore[attr-defined]
    assert found(monkeypatch, Order, Country, Account) == []


@isolate_apps("tests.unit.site.caching.shelf")
def test_a_mixin_has_no_meta_to_take() -> None:
    class Order(CachingMixin, ShardedModel):
        __module__ = Book.__module__

    assert Order._meta.base_manager_name == "account_rows"
    assert Order._meta.constraints
    assert Order._base_manager.caches  # type: ignore[attr-defined]


@isolate_apps("tests.unit.site.caching.shelf")
def test_a_mixin_that_comes_too_late(monkeypatch: Any) -> None:
    class Order(ShardedModel, CachingMixin):
        class Meta(ShardedModel.Meta):
            app_label = "shelf"

    assert set(found(monkeypatch, Order)) == {"caching.E001"}


@isolate_apps("tests.unit.site.caching.shelf")
def test_an_abstract_base_whose_manager_is_replaced(monkeypatch: Any) -> None:
    class Base(ShardedModel):
        objects = CachingManager()

        class Meta(ShardedModel.Meta):
            abstract = True

    class Kept(Base):
        class Meta(Base.Meta):
            app_label = "shelf"

    class Replaced(Base):
        objects = AccountManager()

        class Meta(Base.Meta):
            app_label = "shelf"

    assert is_cached(Kept)
    assert found(monkeypatch, Kept) == []
    assert "caching.E001" in found(monkeypatch, Replaced)


@isolate_apps("tests.unit.site.caching.shelf")
def test_a_manager_that_makes_another_kind_of_queryset(monkeypatch: Any) -> None:
    class Narrowed(CachingManager):
        def get_queryset(self) -> Any:
            return AccountQuerySet(self.model)

    class Order(ShardedModel):
        objects = Narrowed()

        class Meta(ShardedModel.Meta):
            app_label = "shelf"

    class Own(CachingAccountQuerySet):
        pass

    class Good(ShardedModel):
        objects = CachingManager.from_queryset(Own)()

        class Meta(ShardedModel.Meta):
            app_label = "shelf"

    class Wrong(GlobalModel):
        objects = CachingManager.from_queryset(Own)()

        class Meta:
            app_label = "shelf"

    assert found(monkeypatch, Order) == ["caching.E002"]
    assert found(monkeypatch, Good) == []
    assert found(monkeypatch, Wrong) == ["caching.E002"]


@isolate_apps("tests.unit.site.caching.shelf")
def test_managers_that_pass_the_cache_by(monkeypatch: Any) -> None:
    class Order(GlobalModel):
        objects = models.Manager()
        cached = CachingManager()

        class Meta:
            app_label = "shelf"
            base_manager_name = "objects"

    assert found(monkeypatch, Order) == ["caching.W003", "caching.W004"]
