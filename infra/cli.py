"""The command line: `python -m infra --help`."""

__all__ = ["main"]

import argparse
import os
import shutil
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from infra import packages
from infra.console import Console, tail
from infra.credentials import Credentials, load
from infra.description import Loaded
from infra.description import load as load_description
from infra.down import clean, down, locked
from infra.errors import ClusterError
from infra.layout import CHECKOUT, Layout
from infra.preflight import check_local, listeners
from infra.programs import Binaries
from infra.render import render
from infra.status import collect, show
from infra.templating import write
from infra.up import Up
from infra.user import become_ordinary

HERE = Path(__file__).parent
SOCKET_SECONDS = 20
"""No process that was stopped or hangs makes a command wait longer for an answer."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 2 where the description is wrong."""
    socket.setdefaulttimeout(SOCKET_SECONDS)
    options = _parser().parse_args(arguments)
    console = Console()
    try:
        return int(options.handler(options, console) or 0)
    except ClusterError as error:
        console.out.file = sys.stderr
        console.say(f"[red]{escape(str(error))}[/red]")
        return error.exit_status
    except BrokenPipeError:  # `make logs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        console.out.file = sys.stderr
        console.say(f"[red]{escape(error.strerror or str(error))}: {error.filename}[/red]")
        return 1
    except KeyboardInterrupt:
        console.say("\nInterrupted. Run the same command again; it goes on from here.")
        sys.stdout.flush()
        os._exit(130)  # threads that wait for servers have nothing to finish


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra", description="A Fulcrum cluster: on this machine, and by Ansible."
    )
    parser.add_argument(
        "--cluster",
        type=Path,
        default=HERE / "cluster.yml",
        metavar="FILE",
        help="the cluster's description (default: infra/cluster.yml)",
    )
    parser.add_argument(
        "--root",
        type=Path,
        default=Path(os.environ.get("FULCRUM_ROOT") or CHECKOUT / ".cluster"),
        metavar="DIR",
        help="where data, logs and configuration are (default: $FULCRUM_ROOT, or .cluster)",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str, handler: Callable[[argparse.Namespace, Console], int | None], text: str
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(handler=handler)
        return command

    add("validate", _validate, "check the description; say file, line and cure")
    add("render", _render, "write every server's configuration").add_argument(
        "--out", type=Path, metavar="DIR", help="write there (default: the root)"
    )
    up = add("up", _up, "start what does not run yet; data stays")
    up.add_argument("--engine", choices=["postgresql", "sqlite"], default="postgresql")
    up.add_argument("--only", choices=["servers"], help="leave the site out")
    add("down", _down, "stop everything; data stays")
    add("status", _status, "processes, ports, health, what the shards hold").add_argument(
        "--json", action="store_true", help="for programs"
    )
    logs = add("logs", _logs, "the last lines of the logs")
    logs.add_argument("name", nargs="?", help="one process (default: all)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as lines are added")
    add("rebuild", _rebuild, "throw a replica away and copy its primary anew").add_argument(
        "name", help="a replica's name, such as shard01_replica"
    )
    add("psql", _psql, "a session at PostgreSQL itself, as the owner").add_argument(
        "name", help="default (or catalog), or the name of a shard or replica"
    )
    hosts = add("inventory", _inventory, "check an Ansible inventory; no host is touched")
    hosts.add_argument("path", type=Path, help="its folder, such as ansible/inventories/example")
    secrets = add("secrets", _secrets, "make what an Ansible inventory's vault lacks")
    secrets.add_argument("path", type=Path, help="the inventory's folder")
    secrets.add_argument(
        "--step",
        choices=["prepared", "promoted", "settled", "finished"],
        help="of a change of secrets: ansible/rotate_secrets.yml goes through them",
    )
    secrets.add_argument("--names", metavar="A,B", help="which are changed (default: all)")
    secrets.add_argument("--authority", action="store_true", help="the authority is changed, too")
    secrets.add_argument(
        "--forget-keys",
        action="store_true",
        help="what a former secret_key has signed counts no more; then run site.yml",
    )
    add("clean", _clean, "stop, and delete all data").add_argument(
        "--yes", action="store_true", help="do not ask"
    )
    return parser


def _load(options: argparse.Namespace) -> Loaded:
    """The description, named as the caller would name it."""
    path: Path = options.cluster.absolute()
    here = Path.cwd()
    return load_description(path.relative_to(here) if path.is_relative_to(here) else path)


def _validate(options: argparse.Namespace, console: Console) -> None:
    d = _load(options).description
    console.say(f"{options.cluster} is right: {len(d.shards)} shards, {len(d.poolers)} pooler(s).")


def _render(options: argparse.Namespace, console: Console) -> None:
    d, layout = _load(options).description, Layout.at(options.root)
    out = options.out or layout.root
    become_ordinary(layout, create=not options.out)
    existing = layout.secrets.exists()
    credentials = load(layout.secrets) if existing else Credentials.generate()
    files = render(d, credentials, layout, binaries=packages.find() or Binaries())
    changed = write(out, files)
    console.say(f"{len(files)} files in {out}, {len(changed)} changed.")
    if not existing:
        console.say("The passwords in them are made up: this cluster has none before `up`.")


def _up(options: argparse.Namespace, console: Console) -> None:
    only_servers = options.only == "servers"
    up = _bring_up(options, console, options.engine, only_servers=only_servers)
    if only_servers:
        console.say(f"The servers run. Configuration for the site: {up.layout.site_config('app')}")
        return
    site = up.d.site
    console.say(
        f"\nFulcrum runs at [bold]{site.public_url}[/bold]\n"
        f"  log in as {site.login} with the password {up.credentials.demo_password}\n"
        "Next: `make status`, `make logs`, `make psql SHARD=shard01`, `make down`."
    )


def _rebuild(options: argparse.Namespace, console: Console) -> None:
    replicas = _load(options).description.replicas
    if options.name not in replicas:
        names = ", ".join(replicas) or f"none in {options.cluster}"
        raise ClusterError(f"No replica '{options.name}'. There are: {names}.")
    _bring_up(options, console, "postgresql", only_servers=True, rebuild=options.name)
    console.say(f"{options.name} follows {replicas[options.name]}.")


def _bring_up(options: argparse.Namespace, console: Console, engine: str, **how: Any) -> Up:
    """Install what is missing, become an ordinary user, and run `Up`."""
    loaded, layout = _load(options), Layout.at(options.root)
    check_local(loaded.description)
    layout.root.mkdir(parents=True, exist_ok=True)
    installed = engine == "postgresql"
    binaries = packages.install_missing(console, layout) if installed else Binaries()
    known = listeners()
    become_ordinary(layout, create=True)
    up = Up(loaded, layout, console, engine, binaries, **how)
    with locked(layout, console):
        up.run(known)
    return up


def _existing(options: argparse.Namespace) -> Layout:
    """The layout, as its ordinary user; nothing is made."""
    layout = Layout.at(options.root)
    become_ordinary(layout, create=False)
    return layout


def _down(options: argparse.Namespace, console: Console) -> None:
    layout = _existing(options)
    if not layout.root.exists():
        console.say("Nothing runs.")
        return
    with locked(layout, console):
        down(layout, console)


def _status(options: argparse.Namespace, console: Console) -> int:
    d = _load(options).description
    return show(console, d, collect(d, _existing(options)), as_json=options.json)


def _logs(options: argparse.Namespace, console: Console) -> None:
    layout = _existing(options)
    found = {path.stem: path for path in sorted(layout.logs.glob("*.log"))}
    if options.name and options.name not in found:
        known = ", ".join(found) or "none yet"
        raise ClusterError(f"No log of '{options.name}'. Logs: {known}.")
    chosen = [found[options.name]] if options.name else list(found.values())
    if options.follow and chosen:
        os.execvp("tail", ["tail", "-n", "20", "-F", *map(str, chosen)])  # noqa: S606, S607
    for path in chosen:
        console.say(f"[bold]{path}[/bold]")
        print(tail(path, 200 if options.name else 10))


def _inventory(options: argparse.Namespace, console: Console) -> None:
    from infra.inventory_read import read_inventory

    d = read_inventory(options.path).description
    console.say(f"{options.path} is right: the cluster {d.cluster}, {len(d.hosts)} hosts.")
    for alias, node in d.servers.items():
        console.say(f"  {alias:20} {node.role} on {node.host}:{node.port}")


def _secrets(options: argparse.Namespace, console: Console) -> None:
    from infra.inventory_read import read_inventory
    from infra.vault import complete, forget_keys, rotate, vault_file

    path, cluster = options.path, read_inventory(options.path).description.cluster
    if options.step:
        names = None if options.names is None else [n for n in options.names.split(",") if n]
        known, done = rotate(path, cluster, options.step, names, authority=options.authority)
        console.say(f"{known.step or 'finished'}, {'now' if done else 'as before'}: {known.what}")
    elif options.forget_keys:
        console.say(f"{vault_file(path)}: {forget_keys(path)} former keys forgotten.")
    else:
        made = complete(path, cluster)
        console.say(f"{vault_file(path)}: {', '.join(made) or 'nothing was missing'}.")


def _psql(options: argparse.Namespace, console: Console) -> None:
    d = _load(options).description
    layout = _existing(options)
    alias = "default" if options.name == "catalog" else options.name
    if alias not in d.servers:
        names = ", ".join(d.servers)
        raise ClusterError(f"No database '{options.name}'. There are: {names}.")
    found = packages.find()
    if not found or not layout.secrets.exists():
        raise ClusterError("No cluster here yet: `make up` first.")
    psql = shutil.which(found.tool("psql")) or "psql"
    node, credentials = d.servers[alias], load(layout.secrets)
    os.environ["PGPASSWORD"] = credentials.owner
    argv = [psql, "-h", node.host, "-p", str(node.port), "-U", "fulcrum_owner"]
    os.execvp(psql, [*argv, "-d", d.database(alias)])  # noqa: S606


def _clean(options: argparse.Namespace, console: Console) -> None:
    d = _load(options).description
    layout = _existing(options)
    if not layout.root.exists():
        console.say(f"{layout.root} does not exist.")
        return
    with locked(layout, console):
        clean(layout, console, d.cluster, yes=options.yes)
