"""Clusters of real processes, with a toy in the place of the site and without fsync.

They are for tests that kill, stop and break things, and have ports of their own.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.harness import Cluster
from tests.variants import Variant

SCRATCH = Variant("scratch", shift=12_000, toy=True, replica=True)
SQLITE = Variant("scratch_sqlite", shift=13_000, toy=True)


@pytest.fixture(scope="session")
def scratch() -> Iterator[Cluster]:
    """PostgreSQL with a replica, PgBouncer and Redis. Made once, stopped at the session's end."""
    cluster = Cluster(SCRATCH.describe(), SCRATCH.root)
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
    description.write_text(SQLITE.text())
    cluster = Cluster(description, SQLITE.root)
    cluster.run("clean", "--yes")
    yield cluster
    cluster.run("clean", "--yes")
