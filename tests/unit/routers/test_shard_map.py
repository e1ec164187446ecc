import pytest

from routers import SLOTS, NoShardMap, RoutingError, ShardMap, refresh_map, shard_of
from routers.models import MapVersion
from routers.shard_map import confirmed_at, publish_map, use_map

EVEN = ShardMap.even(["shard01", "shard02", "shard03"])


def test_slot_is_the_account_modulo_4096() -> None:
    assert EVEN.shard_of(1) == EVEN.shard_of(1 + SLOTS) == "shard02"
    assert EVEN.shard_of(SLOTS) == EVEN.slots[0]


def test_placements_never_change_between_releases() -> None:
    """Golden placements: a deployed map must route the same after an upgrade of this library."""
    placed = {account: EVEN.shard_of(account) for account in (1, 2, 3, 4095, 4096, 2**63 - 1)}
    assert placed == {
        1: "shard02",
        2: "shard03",
        3: "shard01",
        4095: "shard01",
        4096: "shard01",
        2**63 - 1: "shard01",
    }


def test_pin_wins_over_slot() -> None:
    pinned = ShardMap(EVEN.slots, {1: "shard03"})
    assert (pinned.shard_of(1), pinned.shard_of(1 + SLOTS)) == ("shard03", "shard02")


def test_slots_are_spread_evenly() -> None:
    assert sorted(EVEN.slots_by_shard().values()) == [1365, 1365, 1366]


@pytest.mark.parametrize("slots", [EVEN.slots, ("a",) * 10 + ("b",) * (SLOTS - 10), ("a",) * SLOTS])
def test_runs_restore_the_map(slots: tuple[str, ...]) -> None:
    original = ShardMap(slots, {7: "shard02"}, version=3)
    assert ShardMap.from_runs(original.runs(), original.pins, 3) == original


def test_snapshot_is_immutable() -> None:
    with pytest.raises(AttributeError):
        EVEN.version = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        EVEN.pins[1] = "shard01"  # type: ignore[index]


def test_wrong_number_of_slots_is_refused() -> None:
    with pytest.raises(RoutingError, match="has 4096 slots, not 1"):
        ShardMap(("shard01",))


def test_no_shards_is_refused() -> None:
    with pytest.raises(RoutingError, match="at least one shard"):
        ShardMap.even([])


@pytest.mark.django_db
def test_missing_map_names_the_cure() -> None:
    with pytest.raises(NoShardMap, match=r"manage\.py shards init"):
        refresh_map()


@pytest.mark.django_db
def test_published_map_is_held_once_committed_and_read_again(
    django_capture_on_commit_callbacks,  # noqa: ANN001
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        publish_map(ShardMap(EVEN.slots, {1: "shard01"}), reason="a pin")
        assert shard_of(1) == "shard02"
    assert shard_of(1) == "shard01"
    assert refresh_map().version == 1
    assert refresh_map().pins == {1: "shard01"}


@pytest.mark.django_db
def test_slow_reader_never_turns_back() -> None:
    publish_map(EVEN, reason="first")
    newer = use_map(ShardMap(EVEN.slots, {1: "shard01"}, version=2))
    assert refresh_map() is newer


@pytest.mark.django_db
def test_map_that_names_an_unknown_shard_is_refused() -> None:
    with pytest.raises(RoutingError, match="The map names shard09"):
        publish_map(ShardMap(EVEN.slots, {1: "shard09"}), reason="wrong")


@pytest.mark.django_db
def test_second_writer_of_a_version_is_refused() -> None:
    first = publish_map(EVEN, reason="first")
    publish_map(first, reason="mine")
    with pytest.raises(RoutingError, match="Version 2 of the shard map exists already"):
        publish_map(first, reason="theirs")


@pytest.mark.django_db
def test_routing_asks_no_database(django_assert_num_queries) -> None:  # noqa: ANN001
    MapVersion.objects.count()
    with django_assert_num_queries(0):
        for account in range(1, 1000):
            shard_of(account)


@pytest.mark.django_db
def test_only_the_catalog_confirms_a_map_and_only_its_newest() -> None:
    stored = publish_map(EVEN, reason="first")
    use_map(ShardMap(EVEN.slots, {}, version=9))
    before = confirmed_at()
    refresh_map()
    assert confirmed_at() == before
    use_map(stored)
    refresh_map()
    assert confirmed_at() != before
