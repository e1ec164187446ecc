"""`make bench`: what the site and its library do on this machine, as ratios of interleaved runs."""

import argparse
from collections.abc import Callable
from functools import partial

from rich.console import Console, Group
from rich.table import Table

from tests.bench.caching import caching_table
from tests.bench.catalog import catalog_table
from tests.bench.cluster import BENCH, infra
from tests.bench.crashes import crashes_table
from tests.bench.fan_out import fan_out_table
from tests.bench.fragments import fragments_table
from tests.bench.live import live_tables
from tests.bench.matrix import matrix_table
from tests.bench.memory import memory_table
from tests.bench.migrating import migrating_table
from tests.bench.moves import moves_table
from tests.bench.ownership import ownership_table
from tests.bench.pages import pages_table
from tests.bench.replicas import replicas_table
from tests.bench.routing import routing_table
from tests.bench.seeding import seeding_table
from tests.bench.sessions import sessions_table
from tests.bench.stampede import stampede_table
from tests.bench.startup import startup_table

PARTS: dict[str, Callable[..., Table | Group]] = {
    "routing": routing_table,
    "fan_out": fan_out_table,
    "replicas": replicas_table,
    "caching": caching_table,
    "matrix": matrix_table,
    "memory": memory_table,
    "fragments": fragments_table,
    "sessions": sessions_table,
    "stampede": stampede_table,
    "live": live_tables,
    "ownership": ownership_table,
    "moves": moves_table,
    "migrating": partial(migrating_table, rounds=3),
    "startup": startup_table,
    "seeding": seeding_table,
    "pages": pages_table,
    "crashes": crashes_table,
    "catalog": catalog_table,
}
SIZED = {"seeding", "pages"}  # of as many accounts and sessions as are asked for


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}: all")
    parser.add_argument("--accounts", type=int, default=200)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--keep", action="store_true", help="leave the cluster and its data")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    console = Console(width=110)
    console.print(f"The cluster that is measured is {BENCH.root}.")
    infra("up")
    try:
        for part in options.parts or PARTS:
            size = (options.accounts, options.sessions) if part in SIZED else ()
            console.print(PARTS[part](*size))
    finally:
        if not options.keep:
            infra("clean", "--yes")


if __name__ == "__main__":
    main()
