"""Runs proofs on the lab's cluster and prints a table. Ends with 1 where one does not hold."""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.lab.cluster import Cluster
from tests.lab.inventory import INVENTORY
from tests.lab.proofs import Row
from tests.lab.proofs.encrypted import encrypted
from tests.lab.proofs.figures import figures
from tests.lab.proofs.leaks import leaks
from tests.lab.proofs.ports import ports
from tests.lab.proofs.stolen import stolen

PROOFS: dict[str, Callable[[Cluster], list[Row]]] = {
    "tls": encrypted,
    "figures": figures,
    "stolen": stolen,
    "leaks": leaks,
    "ports": ports,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.proofs", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="PROOF", help=f"of {', '.join(PROOFS)}")
    parser.add_argument("--inventory", type=Path, default=INVENTORY, metavar="DIR")
    options = parser.parse_args()
    if wrong := set(options.names) - set(PROOFS):
        parser.error(f"no proof {', '.join(sorted(wrong))}; there are {', '.join(PROOFS)}")
    cluster, console = Cluster(options.inventory), Console(width=180, highlight=False)
    held = [_show(cluster, console, name) for name in options.names or PROOFS]
    sys.exit(0 if all(held) else 1)


def _show(cluster: Cluster, console: Console, name: str) -> bool:
    began = time.monotonic()
    try:
        rows = PROOFS[name](cluster)
    except AssertionError as error:
        console.print(f"[red]✗[/red] {name}: {escape(str(error))}")
        return False
    table = Table(box=None, pad_edge=False)
    table.add_column(f"✓ {name}, {time.monotonic() - began:.0f} s")
    table.add_column("seen")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)
    return True


if __name__ == "__main__":
    main()
