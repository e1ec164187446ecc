"""Where things are: the checkout, and the directory of one local cluster."""

__all__ = ["CHECKOUT", "Layout"]

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent

# A Unix socket's path has 107 bytes at most, and supervisord adds its pid while it binds.
SOCKET_PATH_BYTES = 95


@dataclass(frozen=True)
class Layout:
    """The paths of a cluster under `root`, an absolute path without symbolic links."""

    root: Path

    @classmethod
    def at(cls, root: Path) -> "Layout":
        """The layout under any path."""
        return cls(root.resolve())

    @property
    def conf(self) -> Path:
        """Rendered configuration, readable by the cluster's user alone."""
        return self.root / "conf"

    @property
    def logs(self) -> Path:
        """One log a process, NAME.log, and those of installation and preparation."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """Pid files and stamps of what was loaded: worthless when nothing runs."""
        return self.root / "run"

    @property
    def done(self) -> Path:
        """Stamps of the `once: true` steps that succeeded."""
        return self.root / "done"

    @property
    def state(self) -> Path:
        """What the site's processes keep from one run to the next; worth a start, not a backup."""
        return self.root / "state"

    @property
    def secrets(self) -> Path:
        """The generated passwords."""
        return self.root / "secrets.json"

    @property
    def sqlite(self) -> Path:
        """The databases of `--engine sqlite`."""
        return self.root / "sqlite"

    def data(self, alias: str) -> Path:
        """A PostgreSQL data directory."""
        return self.root / "postgres" / alias

    def redis(self, purpose: str) -> Path:
        """A Redis working directory."""
        return self.root / "redis" / purpose

    def site_config(self, role: str) -> Path:
        """What FULCRUM_CONFIG names for the role `app`, `owner` or `admin`."""
        return self.root / ("site.json" if role == "app" else f"site-{role}.json")

    def log(self, name: str) -> Path:
        """The log of a program."""
        return self.logs / f"{name}.log"

    @property
    def socket(self) -> Path:
        """supervisord's socket; in a directory in /tmp where the root's path is too long."""
        path = self.root / "supervisor.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
            return path
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        return Path(f"/tmp/fulcrum-{os.getuid()}-{digest}/supervisor.sock")  # noqa: S108 - made 0700

    @property
    def entries(self) -> list[Path]:
        """Everything under the root that is ours to delete; other things there are not."""
        names = ["beat", "conf", "done", "logs", "postgres", "redis", "run", "sqlite", "state"]
        files = ["secrets.json", "install.log", "lock", "supervisor.sock"]
        sites = [self.site_config(role).name for role in ("app", "owner", "admin")]
        return [self.root / name for name in [*names, *files, *sites]]
