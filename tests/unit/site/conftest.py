"""Reference data for all of the site's tests, and one account with people to work in."""

from typing import Any

import pytest

from tests.unit.site.redis_support import redis_process, redis_server

__all__ = ["redis_process", "redis_server"]


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """The databases, with tasks and countries on the catalog and every shard."""
    from routers.reference.carry import publish_references
    from tasks.services import load_countries, load_library
    from tests.unit.conftest import CONFIG, run_as_owner

    if CONFIG:  # the application's role may not write reference data on the shards' behalf
        run_as_owner("load_tasks")
        return
    with django_db_blocker.unblock():
        load_library()
        load_countries()
        publish_references()


@pytest.fixture
def account(db_of_all: None) -> Any:
    """An account with an owner, a recruiter and a viewer."""
    from accounts.models import Account, Membership, User

    account = Account.objects.create(slug="acme", name="Acme", credits=100)
    for role in Membership.Role:
        user = User.objects.create_user(f"{role}@acme.test", "secret", name=role.label)
        Membership.objects.create(user=user, account=account, role=role)
    return account


@pytest.fixture
def other_account(db_of_all: None) -> Any:
    """A second account on the first one's shard, with a member of its own."""
    from accounts.models import Account, Membership, User
    from routers import SLOTS

    newest = Account.objects.order_by("-pk").first()
    account = Account.objects.create(
        pk=(newest.pk if newest else 1) + SLOTS, slug="basalt", name="Basalt", credits=100
    )
    user = User.objects.create_user("owner@basalt.test", "secret")
    Membership.objects.create(user=user, account=account, role=Membership.Role.OWNER)
    return account


@pytest.fixture
def db_of_all(request: pytest.FixtureRequest) -> None:
    """Access to every database: what `django_db(databases="__all__")` gives a test."""
    request.getfixturevalue("db")


@pytest.fixture
def inside(account: Any) -> Any:
    """The test runs inside the account."""
    from routers import account_context

    with account_context(account.pk):
        yield account


@pytest.fixture
def screening(inside: Any) -> Any:
    """A test of three tasks."""
    from assessments.services import test_create
    from tasks.models import Task

    chosen = Task.objects.filter(slug__in=["equilibrium-index", "leader", "best-run"])
    return test_create(name="Screening", minutes=60, tasks=chosen.order_by("slug"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here that wants a database wants all of them: rows live on shards."""
    for item in items:
        if "tests/unit/site" in item.nodeid and not item.get_closest_marker("django_db"):
            fixtures = getattr(item, "fixturenames", ())
            if "db" in fixtures or "account" in fixtures or "db_of_all" in fixtures:
                item.add_marker(pytest.mark.django_db(databases="__all__"))
