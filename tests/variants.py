"""The cluster of infra/cluster.yml under another name and other ports, beside the first one."""

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CHECKOUT", "SITE_PATH", "TEST", "Variant"]

CHECKOUT = Path(__file__).resolve().parents[1]
SITE_PATH = str(CHECKOUT / "site")
ORIGINAL = CHECKOUT / "infra" / "cluster.yml"
PORT = re.compile(r"\b(1[56]\d{3}|8000)\b")


@dataclass(frozen=True)
class Variant:
    """`shift` is added to every port. Without fsync it is fast, and a power cut loses it."""

    name: str
    shift: int
    fsync: bool = False

    @property
    def root(self) -> Path:
        """Where its data is."""
        return CHECKOUT / ".cluster" / self.name

    def describe(self) -> Path:
        """Write the description; returns its path."""
        text = PORT.sub(lambda port: str(int(port[1]) + self.shift), ORIGINAL.read_text())
        text = text.replace("cluster: local #", f"cluster: {self.name} #")
        if not self.fsync:
            text = text.replace("fsync: true", "fsync: false")
        path = CHECKOUT / ".cluster" / f"{self.name}.yml"
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
        return path

    def options(self) -> list[str]:
        """For `python -m infra`."""
        return ["--cluster", str(self.describe()), "--root", str(self.root)]


TEST = Variant("test", shift=10_000)
