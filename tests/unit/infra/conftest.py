"""infra knows nothing of Django, and neither do its tests."""

import pytest

from infra.authority import Authority
from infra.credentials import Credentials
from infra.hosts import Cluster
from infra.inventory_read import read_inventory
from tests.unit.infra.example import EXAMPLE


@pytest.fixture(autouse=True)
def shard_map() -> None:
    """In the place of the other unit tests' fixture of this name, which needs settings."""


@pytest.fixture(autouse=True)
def patience() -> None:
    """Likewise."""


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    """The example inventory's, with secrets of its own."""
    description = read_inventory(EXAMPLE).description
    return Cluster(description, Credentials.generate(), Authority.make("example"))
