"""`down` and `clean` of a cluster on this machine, and the lock that they share with `up`."""

__all__ = ["clean", "down", "locked"]

import contextlib
import fcntl
import shutil
from collections.abc import Iterator

from infra.console import Console
from infra.errors import ClusterError
from infra.layout import Layout
from infra.supervise import Supervisor, stop_strays, strays


@contextlib.contextmanager
def locked(layout: Layout, console: Console) -> Iterator[None]:
    """One `up`, `down` or `clean` of a cluster at a time; the second waits for the first."""
    with (layout.root / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.say("Another `make up` or `make down` is at work on this cluster; waiting …")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def down(layout: Layout, console: Console) -> None:
    """Stop the site, then the pooler and Redis, then PostgreSQL, then supervisord."""
    supervisor = Supervisor(layout)
    known = supervisor.processes()
    if not known and not strays(layout):
        console.say("Nothing runs.")
        return
    if known:
        for title, names in _stop_order(layout, list(known)):
            running = [name for name in names if known[name].wanted]
            if running:
                with console.step(f"stop {title}: {', '.join(running)}"):
                    supervisor.stop(running)
        supervisor.shutdown()
    stop_strays(layout)


def _stop_order(layout: Layout, names: list[str]) -> list[tuple[str, list[str]]]:
    """Whoever uses a server stops before it. Told by what is there, not by today's description."""
    site = [name for name in names if name in ("web", "worker", "beat")]
    postgres = [name for name in names if layout.data(name).exists()]
    others = [name for name in names if name not in site + postgres]
    return [("the site", site), ("pooler and Redis", others), ("PostgreSQL", postgres)]


def clean(layout: Layout, console: Console, name: str, *, yes: bool) -> None:
    """Stop, and delete what the runner made under the root. Raises unless the name is typed."""
    if not yes:
        console.say(f"This deletes all data of the cluster [bold]{name}[/bold] in {layout.root}.")
        typed = console.out.input(f"Type {name} to go on: ") if console.out.is_interactive else ""
        if typed.strip() != name:
            raise ClusterError("Nothing was deleted. (Without a terminal: `clean --yes`.)")
    down(layout, console)
    with console.step(f"delete {layout.root}"):
        for path in layout.entries:
            if path.is_symlink() or path.is_file() or path.is_socket():
                path.unlink()
            elif path.is_dir():
                shutil.rmtree(path)
        with contextlib.suppress(OSError):  # not empty, or in a directory of somebody else's
            layout.root.rmdir()
