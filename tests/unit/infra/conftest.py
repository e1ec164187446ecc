"""infra knows nothing of Django, and neither do its tests."""

import pytest


@pytest.fixture(autouse=True)
def shard_map() -> None:
    """In the place of the other unit tests' fixture of this name, which needs settings."""
