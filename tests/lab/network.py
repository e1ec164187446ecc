"""The lab's private network: a bridge on this machine, behind NAT."""

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from tests.lab.base import LAB
from tests.lab.tools import run, succeeds

__all__ = ["BRIDGE", "NETWORK", "address_of", "gateway", "remove_network", "set_up_network"]

BRIDGE = f"fulcrum{LAB}"
NETWORK = IPv4Network(f"10.79.{LAB}.0/24")
FIRST_HOST = 11


def gateway() -> IPv4Address:
    """This machine's own address on the bridge."""
    return NETWORK[1]


def address_of(number: int) -> IPv4Address:
    """The address of host `number`, from 1."""
    return NETWORK[FIRST_HOST - 1 + number]


def set_up_network() -> None:
    """Make what is missing. Hosts reach the outside (Debian's registry), nobody reaches them."""
    if not Path("/sys/class/net", BRIDGE).exists():
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "address", "add", f"{gateway()}/{NETWORK.prefixlen}", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    for table, chain, *rule in _rules():
        if not succeeds("iptables", "-t", table, "-C", chain, *rule):
            run("iptables", "-t", table, "-I", chain, *rule)


def remove_network() -> None:
    """Take away the bridge and its rules. (Forwarding stays on: others may need it.)"""
    for table, chain, *rule in _rules():
        while succeeds("iptables", "-t", table, "-D", chain, *rule):
            pass
    if Path("/sys/class/net", BRIDGE).exists():
        run("ip", "link", "delete", BRIDGE)


def _rules() -> list[list[str]]:
    outside = ["-s", str(NETWORK), "!", "-d", str(NETWORK)]
    return [
        ["nat", "POSTROUTING", *outside, "-j", "MASQUERADE"],
        ["filter", "FORWARD", "-i", BRIDGE, "-j", "ACCEPT"],
        ["filter", "FORWARD", "-o", BRIDGE, "-j", "ACCEPT"],
    ]
