"""The site on a host: web application, background tasks, what is periodic, on one host each.

The processes are the user fulcrum, who has the application's passwords. Those of the tables' owner
are on the first app host only, and another user's: fulcrum-owner, who migrates.
"""

__all__ = ["ROOT", "files", "variables"]

import hashlib
import shlex
from pathlib import Path
from typing import Any

from infra.hosts import Cluster, Facts, HostFile
from infra.hosts.balancer import DRAINED
from infra.layout import Layout
from infra.programs import command
from infra.schema import App, Description, Step, Worker
from infra.sitefiles import site_json
from infra.templating import template

ROOT = "/opt/fulcrum"
RELEASES, CURRENT = f"{ROOT}/releases", f"{ROOT}/current"
RUN = "/usr/local/lib/fulcrum/run"
CA = "/etc/fulcrum/tls/ca.crt"
ENVIRONMENT = "/etc/fulcrum/prepare.env"
LAYOUTS = {"app": Layout(Path("/var/lib/fulcrum")), "owner": Layout(Path("/var/lib/fulcrum-owner"))}
USERS = {"app": "fulcrum", "owner": "fulcrum-owner"}
TITLES = {"web": "the web application", "worker": "background tasks", "beat": "what is periodic"}
STOP_SECONDS = {"web": 30, "worker": 60, "beat": 10}


def files(cluster: Cluster, host: str, facts: Facts) -> list[HostFile]:
    """Settings, units, and the commands that run a release's programs."""
    d = cluster.description
    made = [_site_json(cluster, "app"), *_commands(d)]
    made += [_unit(d, name, host) for name in _programs(d, host)]
    if app := _app(d, host):
        made += _web(d, app)
    if host == _first(d):
        password = f"FULCRUM_DEMO_PASSWORD={cluster.credentials.demo_password}\n"
        made += [_site_json(cluster, "owner"), HostFile(ENVIRONMENT, password, 0o600)]
    return made


def variables(cluster: Cluster, host: str, facts: Facts) -> dict[str, Any]:
    """`units`: those that run here · `folders`, `accounts`: made beforehand · `first`: who migrates
    · `probe`: the web application's address here · `drained`: the file by which balancers leave it
    out · `steps`: what prepares the site once the tables are there."""
    d = cluster.description
    app = _app(d, host)
    roles = ["app", "owner"] if host == _first(d) else ["app"]
    sockets = ["fulcrum-web.socket"] if app else []
    return {
        "accounts": [{"name": USERS[role], "home": str(LAYOUTS[role].root)} for role in roles],
        "folders": [folder for role in roles for folder in _folders(role)],
        "units": sockets + [f"fulcrum-{name}.service" for name in _programs(d, host)],
        "first": _first(d),
        "probe": f"http://{d.addresses[host]}:{app.port}" if app else "",
        "drained": f"{DRAINED}/{host}",
        "steps": [_step(d, step) for step in d.site.prepare if not _migrates(step)],
    }


def _first(d: Description) -> str:
    return d.apps[0].host


def _app(d: Description, host: str) -> App | None:
    return next((app for app in d.apps if app.host == host), None)


def _worker(d: Description, host: str) -> Worker | None:
    return next((worker for worker in d.workers if worker.host == host), None)


def _programs(d: Description, host: str) -> list[str]:
    """Of web, worker and beat those that run on `host`. Beat is on the first worker host alone."""
    here = {
        "web": _app(d, host) is not None,
        "worker": _worker(d, host) is not None,
        "beat": d.workers[0].host == host,
    }
    return [name for name, runs in here.items() if runs]


def _site_json(cluster: Cluster, role: str) -> HostFile:
    layout = LAYOUTS[role]
    d, credentials = cluster.description, cluster.credentials
    text = site_json(d, credentials, layout, role, ca=CA, rotation=cluster.rotation)
    return HostFile(str(layout.site_config(role)), text, 0o640, "root", USERS[role])


def _commands(d: Description) -> list[HostFile]:
    directory = d.site.directory
    roles = {
        role: {"user": USERS[role], "config": str(LAYOUTS[role].site_config(role))}
        for role in LAYOUTS
    }
    run = template("run.sh", releases=RELEASES, current=CURRENT, directory=directory)
    known = {"environment": ENVIRONMENT, "run": RUN, "owner_host": _first(d)}
    return [
        HostFile(RUN, run, 0o755),
        HostFile(
            "/usr/local/sbin/fulcrum-run", template("fulcrum-run.sh", roles=roles, **known), 0o755
        ),
        HostFile("/usr/local/sbin/fulcrum-manage", template("fulcrum-manage.sh"), 0o755),
    ]


def _web(d: Description, app: App) -> list[HostFile]:
    """The port, which systemd holds, and gunicorn's settings."""
    address = d.addresses[app.host]
    proxies = sorted(d.addresses[balancer.host] for balancer in d.balancers)
    settings = template(
        "gunicorn.conf.py", app=app, listen=address, proxies=proxies, access_log=False
    )
    socket = template("fulcrum-web.socket", address=address, port=app.port, current=CURRENT)
    return [
        HostFile(str(LAYOUTS["app"].conf / "gunicorn.conf.py"), settings),
        HostFile("/etc/systemd/system/fulcrum-web.socket", socket),
    ]


def _unit(d: Description, name: str, host: str) -> HostFile:
    layout = LAYOUTS["app"]
    text = template(
        "fulcrum.service",
        title=TITLES[name],
        command=_systemd_line(_words(d, d.site.programs[name], host)),  # type: ignore[index]
        run=RUN,
        config=layout.site_config("app"),
        current=CURRENT,
        writes=[layout.state, *([layout.root / "beat"] if name == "beat" else [])],
        notify=name == "web",
        socket=name == "web",
        stop_seconds=STOP_SECONDS[name],
    )
    return HostFile(f"/etc/systemd/system/fulcrum-{name}.service", text)


def _words(d: Description, line: str, host: str) -> list[str]:
    """A command line of the description; `python` is the release's own."""
    here = _worker(d, host)
    known = d.model_copy(update={"workers": [here]}) if here else d
    words = command(known, LAYOUTS["app"], line)
    return ["python", *words[1:]] if shlex.split(line)[0] == "python" else words


def _systemd_line(words: list[str]) -> str:
    """With nothing in it that systemd would fill in."""
    return shlex.join(words).replace("%", "%%").replace("$", "$$")


def _folders(role: str) -> list[dict[str, str]]:
    """Root's where only settings are; the user's own where it writes."""
    layout, user = LAYOUTS[role], USERS[role]
    own = [layout.state, layout.root / "beat"] if role == "app" else [layout.state]
    others = [layout.root, layout.conf, layout.done]
    return [
        *({"path": str(path), "owner": "root", "group": user, "mode": "0750"} for path in others),
        *({"path": str(path), "owner": user, "group": user, "mode": "0700"} for path in own),
    ]


def _migrates(step: Step) -> bool:
    return "migrate_shards" in step.run.split()


def _step(d: Description, step: Step) -> dict[str, Any]:
    """`as: admin` is the owner here: from PostgreSQL 16 on who may subscribe is no superuser."""
    digest = hashlib.sha256(step.run.encode()).hexdigest()[:16]
    return {
        "title": step.title,
        "role": "app" if step.as_ == "app" else "owner",
        "words": _words(d, step.run, _first(d)),
        "stamp": str(LAYOUTS["owner"].done / digest) if step.once else "",
    }
