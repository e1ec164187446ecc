"""Clusters of real processes. fsync is off, and all keep their data between runs.

`servers` is described by cluster.yml and is left running under .cluster/test, so that the next
test run starts at once. `scratch` is a second one, with other ports and a toy in the place of the
site, for tests that kill, stop and break things: they disturb nobody who uses the first."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.harness import CHECKOUT, Cluster, toy_description

HERE = Path(__file__).parent
ROOTS = CHECKOUT / ".cluster"


@pytest.fixture(scope="session")
def servers() -> Cluster:
    """PostgreSQL, PgBouncer and Redis, without the site. Nobody stops or breaks these."""
    cluster = Cluster(HERE / "cluster.yml", ROOTS / "test")
    cluster.up()
    return cluster


@pytest.fixture(scope="session")
def scratch() -> Iterator[Cluster]:
    """Made once, stopped at the end of the session."""
    ROOTS.mkdir(exist_ok=True)
    description = ROOTS / "scratch.yml"
    description.write_text(toy_description(2000))
    cluster = Cluster(description, ROOTS / "scratch")
    cluster.up()
    yield cluster
    cluster.run("down")


@pytest.fixture
def fragile(scratch: Cluster) -> Iterator[Cluster]:
    """`scratch` for a test that breaks it: brought up again afterwards."""
    yield scratch
    scratch.up()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Cluster]:
    """A root of its own that has never run, for the engine without servers."""
    description = tmp_path / "cluster.yml"
    description.write_text(toy_description(3000))
    cluster = Cluster(description, ROOTS / "scratch-sqlite")
    cluster.run("clean", "--yes")
    yield cluster
    cluster.run("clean", "--yes")
