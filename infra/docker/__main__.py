"""`python -m infra.docker COMMAND`, the entry point of the images that have Python.

`init` makes the passwords and fills one volume for each kind of service; `database ALIAS` becomes
PostgreSQL, `site NAME` the web application, worker or beat; `prepare` makes the site ready.
`docker compose run --rm prepare manage COMMAND` is `manage.py COMMAND` as the tables' owner.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from rich.markup import escape

from infra.console import Console
from infra.credentials import Credentials, load, load_or_create
from infra.description import load as load_description
from infra.errors import ClusterError
from infra.layout import CHECKOUT, Layout
from infra.prepare import prepare as run_steps
from infra.programs import Binaries, Program, command, programs, site_environment
from infra.render import File, render
from infra.schema import Description
from infra.servers import clear_stale_pid, define_roles, initdb, wait_for_pool
from infra.supervise import basic_environment
from infra.templating import write

LAYOUT = Layout(Path("/var/lib/fulcrum"))
VOLUMES = Path("/volumes")
"""Where `init` has every volume; each service has its own at LAYOUT.root."""

DATA = ("beat", "postgres", "redis/broker", "redis/cache", "state")
"""Where data is mounted into a service's volume, which is read-only there."""

DEBIAN = Binaries(
    postgres=Path("/usr/lib/postgresql/17/bin/postgres"),
    pgbouncer=Path("/usr/sbin/pgbouncer"),
    redis=Path("/usr/bin/redis-server"),
    pgbouncer_version=(1, 24),
)
"""What Debian 13 has, for the images that render configuration and do not hold the servers."""

RECOVERY_SECONDS = 600


def description() -> Description:
    """The cluster of docker-compose.yml."""
    return load_description(Path(__file__).with_name("cluster.yml")).description


def init(console: Console) -> None:
    """Make the passwords, once; render; give each volume what its services read."""
    d = description()
    check(d)
    credentials = load_or_create(VOLUMES / "secrets" / "secrets.json")
    for volume, files in shares(d, credentials).items():
        changed = write(VOLUMES / volume, files)
        for place in DATA:
            (VOLUMES / volume / place).mkdir(parents=True, exist_ok=True)
        console.say(f"{volume}: {len(files)} files, {len(changed)} changed")


def check(d: Description) -> None:
    """Refuse what the containers do not do."""
    if d.replicas:
        raise ClusterError(f"The containers run no replicas: take {', '.join(d.replicas)} out.")
    for step in d.site.prepare:
        if step.as_ == "admin":
            raise ClusterError(
                f"'{step.title}': a superuser logs in inside the database's own container only. "
                "Write `as: owner`, who may subscribe from PostgreSQL 16 on."
            )


def shares(d: Description, credentials: Credentials) -> dict[str, dict[str, File]]:
    """Volume → its files by path. Nobody has a password that it does not use."""
    files = render(d, credentials, LAYOUT, binaries=DEBIAN)

    def these(*prefixes: str) -> dict[str, File]:
        return {path: file for path, file in files.items() if path.startswith(prefixes)}

    def secrets(*names: str) -> dict[str, File]:
        kept = {name: value if name in names else "" for name, value in asdict(credentials).items()}
        return {LAYOUT.secrets.name: File(json.dumps(kept), 0o600)}

    made = {
        "postgres": these(*(f"conf/{alias}/" for alias in d.primaries)) | secrets("superuser"),
        "prepare": these("site.json", "site-owner.json") | secrets("pooler_app", "demo_password"),
        "site": these("site.json", "conf/gunicorn"),
    }
    servers = [*(pooler.name for pooler in d.poolers), *(cache.purpose for cache in d.caches)]
    return made | {name: these(f"conf/{name}/") for name in servers}


def program(name: str) -> Program:
    """How `name` is started; the same command lines as on a machine without containers."""
    every = programs(description(), LAYOUT, "postgresql", DEBIAN)
    found = next((program for program in every if program.name == name), None)
    if not found:
        raise ClusterError(f"No program '{name}'. There are: {', '.join(p.name for p in every)}.")
    return found


def database(console: Console, alias: str) -> None:
    """Make what is missing, then become PostgreSQL."""
    server, credentials = program(alias), load(LAYOUT.secrets)
    if not LAYOUT.data(alias).exists():
        with console.step(f"make the data directory of {alias}"):
            initdb(LAYOUT, DEBIAN, credentials, alias, sync=description().postgres.fsync)
    clear_stale_pid(LAYOUT, alias)
    wanted = (LAYOUT.conf / alias / "roles.sql").read_text()
    stamp = LAYOUT.data(alias).with_name("roles.sql")
    if not stamp.exists() or stamp.read_text() != wanted:
        with console.step(f"make the roles of {alias}"):
            _define_roles(server, credentials)
        write(stamp.parent, {stamp.name: File(wanted, 0o600)})
    os.execv(server.argv[0], server.argv)  # noqa: S606 - a server's own program


def _define_roles(server: Program, credentials: Credentials) -> None:
    """Start PostgreSQL where nobody else reaches it, define the roles, stop it."""
    _, _, data, config = server.argv
    control = [DEBIAN.tool("pg_ctl"), "-s", "-D", data, "-w", "-t", str(RECOVERY_SECONDS)]
    options = f"{config} -c listen_addresses=127.0.0.1"
    subprocess.run([*control, "-o", options, "start"], check=True)  # noqa: S603
    try:
        define_roles(description(), LAYOUT, DEBIAN, credentials, server.name, host="127.0.0.1")
    finally:
        subprocess.run([*control, "-m", "fast", "stop"], check=True)  # noqa: S603


def site(console: Console, name: str) -> None:
    """Become the web application, the worker or the beat."""
    chosen = program(name)
    os.chdir(chosen.directory)
    environment = basic_environment(LAYOUT) | chosen.environment
    os.execve(chosen.argv[0], chosen.argv, environment)  # noqa: S606 - a line of the description


def prepare(console: Console) -> None:
    """Migrate, load tasks, make demo data; say where the site is and how to log in."""
    d, credentials = description(), load(LAYOUT.secrets)
    for path in (LAYOUT.logs, LAYOUT.done):
        path.mkdir(exist_ok=True)
    for alias in d.primaries:
        wait_for_pool(d, credentials, alias)
    run_steps(d, LAYOUT, console, credentials, "postgresql")
    url = os.environ.get("FULCRUM_URL") or d.site.public_url
    console.say(f"Fulcrum runs at {url} as soon as `web` is healthy.")
    console.say(f"  log in as {d.site.login} with the password {credentials.demo_password}")


def manage(console: Console, *arguments: str) -> None:
    """Become `manage.py` as the tables' owner, past the pooler; in the container of `prepare`."""
    d = description()
    os.chdir(CHECKOUT / d.site.directory)
    argv = [*command(d, LAYOUT, "python manage.py"), *arguments]
    environment = basic_environment(LAYOUT) | site_environment(d, LAYOUT, "owner")
    os.execve(argv[0], argv, environment)  # noqa: S606 - the site's own program


COMMANDS: dict[str, Callable[..., None]] = {
    "init": init,
    "database": database,
    "site": site,
    "prepare": prepare,
    "manage": manage,
}


def main(arguments: list[str]) -> int:
    """Run one command. Returns the exit status."""
    os.umask(0o077)
    console = Console()
    try:
        COMMANDS[arguments[0]](console, *arguments[1:])
    except (ClusterError, subprocess.CalledProcessError) as error:
        console.say(f"[red]{escape(str(error))}[/red]")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
