"""Who the demo accounts are and how large: the same for the same numbers."""

from dataclasses import dataclass

from accounts.models import Account

__all__ = ["TESTS", "PlannedAccount", "plan"]

FIRST = """
Acme Alder Amber Basalt Birch Cedar Cinder Cobalt Copper Coral Delta Ember Falcon Fjord Granite
Harbour Hazel Indigo Juniper Kestrel Larch Linden Maple Meridian Nimbus Onyx Osprey Pebble
Quartz Raven Rowan Saffron Sierra Slate Tamarind Tidal Umber Velvet Willow Zephyr
""".split()
SECOND = """
Analytics Robotics Foods Logistics Systems Media Energy Studios Insurance Labs Travel Bank
Mobility Health Games Telecom Retail Airlines Software Security
""".split()

# Each test: its name, its minutes, and the places of its three tasks in the library.
TESTS = (
    ("Back-end developer", 90, (0, 4, 8)),
    ("Data engineer", 120, (1, 5, 9)),
    ("Graduate programme", 60, (2, 6, 10)),
    ("Senior engineer", 120, (3, 7, 11)),
)


@dataclass(frozen=True)
class PlannedAccount:
    """One account and how many sessions it gets."""

    slug: str
    name: str
    plan: str
    sessions: int


def plan(accounts: int, sessions: int) -> list[PlannedAccount]:
    """So many accounts sharing so many sessions, the n-th largest with a share of 1/n (Zipf)."""
    shares = [1 / rank for rank in range(1, accounts + 1)]
    sizes = [int(sessions * share / sum(shares)) for share in shares]
    for extra in range(sessions - sum(sizes)):
        sizes[extra % accounts] += 1
    return [_account(index, size) for index, size in enumerate(sizes)]


def _account(index: int, size: int) -> PlannedAccount:
    rounds, place = divmod(index, len(FIRST) * len(SECOND))
    first = FIRST[place % len(FIRST)]
    second = SECOND[(place + place // len(FIRST)) % len(SECOND)]
    name = f"{first} {second}" + (f" {rounds + 1}" if rounds else "")
    tier = Account.Plan.ENTERPRISE if index < 10 else Account.Plan.TEAM
    return PlannedAccount(name.lower().replace(" ", "-"), name, tier, size)
