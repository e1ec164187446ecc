"""The processes of a local cluster: command lines, environments, how each is stopped."""

__all__ = ["Binaries", "Program", "command", "programs", "site_environment"]

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

from infra.errors import ClusterError
from infra.layout import CHECKOUT, Layout
from infra.schema import Description


@dataclass(frozen=True)
class Binaries:
    """Where the servers' programs are, and the version of the one whose settings depend on it."""

    postgres: Path = Path("postgres")
    pgbouncer: Path = Path("pgbouncer")
    redis: Path = Path("redis-server")
    pgbouncer_version: tuple[int, int] = (1, 18)

    def tool(self, name: str) -> str:
        """A PostgreSQL program beside `postgres`: initdb, psql, …"""
        return str(self.postgres.with_name(name))


@dataclass(frozen=True)
class Program:
    """A process that supervisord keeps alive. `kind` is postgres, pooler, redis or site."""

    name: str
    kind: str
    argv: list[str]
    directory: Path
    log_file: Path
    host: str = ""
    port: int = 0
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def stop_signal(self) -> str:
        """INT is PostgreSQL's fast shutdown: it does not wait for clients to leave."""
        return "INT" if self.kind == "postgres" else "TERM"

    def as_ini(self) -> dict[str, object]:
        """What supervisord.conf.j2 needs; in its files % stands for itself as %%."""
        return {
            "name": self.name,
            "command": shlex.join(self.argv).replace("%", "%%"),
            "directory": str(self.directory).replace("%", "%%"),
            "environment": {k: v.replace("%", "%%") for k, v in self.environment.items()},
            "stop_signal": self.stop_signal,
            "stop_seconds": 60 if self.kind == "postgres" else 30,
            "log_file": str(self.log_file).replace("%", "%%"),
        }


def programs(
    d: Description, layout: Layout, engine: str, binaries: Binaries | None = None
) -> list[Program]:
    """Every process, in the order in which they start."""
    if engine == "sqlite":
        return [_site(d, layout, "web")]
    servers = _servers(d, layout, binaries or Binaries())
    return servers + [_site(d, layout, name) for name in ("web", "worker", "beat")]


def _servers(d: Description, layout: Layout, binaries: Binaries) -> list[Program]:
    made = [_postgres(d, layout, binaries, alias) for alias in d.primaries]
    for cache in d.caches:
        argv = [str(binaries.redis), str(layout.conf / cache.purpose / "redis.conf")]
        made.append(_server(layout, cache.purpose, "redis", argv, cache.host, cache.port))
    for pooler in d.poolers:
        argv = [str(binaries.pgbouncer), str(layout.conf / pooler.name / "pgbouncer.ini")]
        made.append(_server(layout, pooler.name, "pooler", argv, pooler.host, pooler.port))
    return made + [_postgres(d, layout, binaries, alias) for alias in d.replicas]


def _postgres(d: Description, layout: Layout, binaries: Binaries, alias: str) -> Program:
    config = layout.conf / alias / "postgresql.conf"
    argv = [str(binaries.postgres), "-D", str(layout.data(alias)), f"--config-file={config}"]
    return _server(layout, alias, "postgres", argv, d.servers[alias].host, d.servers[alias].port)


def _server(layout: Layout, name: str, kind: str, argv: list[str], host: str, port: int) -> Program:
    return Program(name, kind, argv, layout.root, layout.log(name), host, port)


def _site(d: Description, layout: Layout, name: str) -> Program:
    """The web application, the worker or the beat."""
    app = d.apps[0]
    return Program(
        name=name,
        kind="site",
        argv=command(d, layout, d.site.programs[name]),  # type: ignore[index]
        directory=CHECKOUT / d.site.directory,
        log_file=layout.log(name),
        host=app.host if name == "web" else "",
        port=app.port if name == "web" else 0,
        environment=site_environment(d, layout, "app"),
    )


def command(d: Description, layout: Layout, line: str) -> list[str]:
    """A command line of the description as arguments: {root}, {concurrency}, python."""
    values = {"root": str(layout.root), "concurrency": str(d.workers[0].concurrency)}
    try:
        words = [word.format_map(values) for word in shlex.split(line)]
    except (KeyError, ValueError, IndexError) as error:
        known = ", ".join(f"{{{name}}}" for name in values)
        message = f"the command line `{line}` has {error}; the placeholders are {known}"
        raise ClusterError(message) from None
    return [sys.executable, *words[1:]] if words[0] == "python" else words


def site_environment(d: Description, layout: Layout, role: str) -> dict[str, str]:
    """What the site's processes get on top of the basic environment. No secret is in it."""
    paths = [CHECKOUT, CHECKOUT / d.site.directory]
    return {
        "FULCRUM_CONFIG": str(layout.site_config(role)),
        "PYTHONPATH": ":".join(map(str, paths)),
        "PYTHONUNBUFFERED": "1",
    }
