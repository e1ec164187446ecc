"""The cluster of infra/cluster.yml under other names and ports, for tests and measurements."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CHECKOUT", "PYTHONPATH", "SITE_PATH", "TEST", "Variant"]

CHECKOUT = Path(__file__).resolve().parents[1]
SITE_PATH = str(CHECKOUT / "site")
PYTHONPATH = f"{CHECKOUT}{os.pathsep}{SITE_PATH}"  # for a process of the site's
ORIGINAL = CHECKOUT / "infra" / "cluster.yml"
TOY = CHECKOUT / "tests" / "cluster" / "toy" / "site.yml"
REPLICA = "# - { role: replica"
PORT = re.compile(r"\b(1[56]\d{3}|8000)\b")


@dataclass(frozen=True)
class Variant:
    """`shift` is added to every port. Without fsync it is fast, and a crash loses its last rows.

    `toy` puts the smallest program that can be run in the place of the site; `replica` switches
    the replica of shard01 on.
    """

    name: str
    shift: int
    fsync: bool = False
    toy: bool = False
    replica: bool = False

    @property
    def root(self) -> Path:
        """Where its data is."""
        return CHECKOUT / ".cluster" / self.name

    def text(self) -> str:
        """The description."""
        text = ORIGINAL.read_text().replace("cluster: local #", f"cluster: {self.name} #")
        if not self.fsync:
            text = text.replace("fsync: true", "fsync: false")
        if self.replica:
            assert text.count(REPLICA) == 1
            text = text.replace(REPLICA, REPLICA.replace("# ", ""))
        if self.toy:
            text = text.partition("\nsite:\n")[0] + "\n" + TOY.read_text()
        return PORT.sub(lambda port: str(int(port[1]) + self.shift), text)

    def describe(self) -> Path:
        """Write the description beside its root; returns its path."""
        path = self.root.with_suffix(".yml")
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text() != self.text():
            path.write_text(self.text())
        return path

    def options(self) -> list[str]:
        """For `python -m infra`."""
        return ["--cluster", str(self.describe()), "--root", str(self.root)]


TEST = Variant("test", shift=10_000)
