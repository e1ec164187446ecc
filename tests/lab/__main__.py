"""`make lab HOSTS=8`: real hosts on this machine, to try the playbooks on without a cloud."""

import argparse
import os
import shutil
import sys
from pathlib import Path

from tests.lab.able import impediment
from tests.lab.base import STORE
from tests.lab.hosts import HOSTS, KEY, Host, boot, hosts_there, remove
from tests.lab.inventory import INVENTORY, write_inventory
from tests.lab.network import remove_network, set_up_network
from tests.lab.tools import LabError


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="boot hosts 1 to N; those that run are left as they are")
    up.add_argument("hosts", type=int, metavar="N")
    up.add_argument(
        "--inventory",
        type=Path,
        default=INVENTORY,
        metavar="DIR",
        help="where to write one for 3 to 8 hosts (default: ansible/inventories/lab)",
    )
    verbs.add_parser("down", help="stop every host, delete the disks and the network")
    verbs.add_parser("status", help="which hosts there are")
    verbs.add_parser("able", help="whether this machine can boot hosts; status 1 and why, if not")
    for verb, what in (("cut", "cut a host's power"), ("start", "boot a host again")):
        verbs.add_parser(verb, help=what).add_argument("host", type=int, metavar="NUMBER")
    options = parser.parse_args()
    if options.verb == "able":
        sys.exit(impediment())
    if os.geteuid() != 0:
        sys.exit("The lab boots hosts of its own, so it needs root: sudo make lab HOSTS=8")
    try:
        _do(options)
    except LabError as error:
        sys.exit(str(error))


def _do(options: argparse.Namespace) -> None:
    if options.verb == "up":
        set_up_network()
        boot(range(1, options.hosts + 1))
        write_inventory(options.hosts, options.inventory)
    elif options.verb == "down":
        for host in hosts_there():
            remove(host)
        remove_network()
        shutil.rmtree(HOSTS, ignore_errors=True)
        shutil.rmtree(INVENTORY, ignore_errors=True)
        for key in (KEY, KEY.with_suffix(".pub")):
            key.unlink(missing_ok=True)
        print(f"The lab is gone. The base system stays in {STORE} for the next one.")
        return
    elif options.verb == "cut":
        Host(options.host).cut_power()
    elif options.verb == "start":
        boot([options.host])
    for host in hosts_there():
        print(f"{host.name}  {host.address}  {'runs' if host.pid else 'is off'}")


if __name__ == "__main__":
    main()
