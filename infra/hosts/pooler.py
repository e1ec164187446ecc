"""PgBouncer: N processes that share one port, each with a console on a socket of its own.

Server logins are SCRAM by the keys of the client (pass-through): userlist.txt has the verifier that
PostgreSQL has, made from the same salt, so no password lies on a pooler and no client has two. With
a password in [databases] a verifier for clients would not do (pgbouncer issues 944, 1461), and with
auth_query its own login would need a password here (issue 495). PgBouncer also shows PostgreSQL the
host's certificate, so that pg_hba.conf may ask for one (`clientcert=verify-ca`): then the password
of the application opens nothing past the pooler, not even from the pooler's host.
"""

__all__ = ["COMMAND", "FOLDER", "RUN", "files", "variables"]

from typing import Any

from infra.hosts import Cluster, Facts, HostFile
from infra.hosts.ports import local_port
from infra.schema import Description, Pooler
from infra.templating import template

FOLDER = "/etc/fulcrum/pooler"
RUN = "fulcrum-pooler"
"""Below /run: process N has its socket in /run/fulcrum-pooler/N."""
COMMAND = "/usr/local/sbin/fulcrum-pooler"
TLS = "/etc/fulcrum/tls"
VERSION = [1, 24]
PREPARED_STATEMENTS = 200
"""How many a server connection keeps. psycopg2 makes none; this is for drivers that do."""


def files(cluster: Cluster, host: str, facts: Facts) -> list[HostFile]:
    d, pooler = cluster.description, _pooler(cluster.description, host)
    passwords = {**cluster.verifiers("app"), **cluster.verifiers("pooler_monitor")}
    users = template("userlist.txt", passwords=passwords)
    unit = template("pooler.service", folder=FOLDER, run=RUN, command=COMMAND)
    return [
        HostFile(f"{FOLDER}/userlist.txt", users, 0o640, group="postgres"),
        HostFile(f"{FOLDER}/hba.conf", _hba(d)),
        HostFile(f"{FOLDER}/pooler.ini", _settings(d, pooler)),
        *(_process(d, pooler, number) for number in _processes(pooler)),
        HostFile("/etc/systemd/system/fulcrum-pooler@.service", unit),
    ]


def variables(cluster: Cluster, host: str, facts: Facts) -> dict[str, Any]:
    """`processes`: their numbers; `databases`: what the poolers call them, sorted."""
    d = cluster.description
    return {
        "processes": _processes(_pooler(d, host)),
        "databases": sorted(d.pooled(alias) for alias in d.servers),
    }


def _pooler(d: Description, host: str) -> Pooler:
    return next(pooler for pooler in d.poolers if pooler.host == host)


def _processes(pooler: Pooler) -> list[int]:
    return list(range(1, pooler.processes + 1))


def _settings(d: Description, pooler: Pooler) -> str:
    """What all processes share, and a reload changes."""
    databases = [
        {
            "name": d.pooled(alias),
            "database": d.database(alias),
            "host": d.database(alias),
            "port": local_port(d, alias),
            "password": "",
        }
        for alias in d.servers
    ]
    return template(
        "pgbouncer.ini",
        pooler=pooler,
        databases=databases,
        auth_file=f"{FOLDER}/userlist.txt",
        hba_file=f"{FOLDER}/hba.conf",
        version=VERSION,
        peers={number: f"/run/{RUN}/{number}" for number in _processes(pooler)},
        tls=TLS,
        prepared_statements=PREPARED_STATEMENTS,
    )


def _process(d: Description, pooler: Pooler, number: int) -> HostFile:
    content = template(
        "pooler_process.ini",
        process=number,
        pooler=pooler,
        listen=d.addresses[pooler.host],
        settings=f"{FOLDER}/pooler.ini",
        socket_directory=f"/run/{RUN}/{number}",
    )
    return HostFile(f"{FOLDER}/process-{number}.ini", content)


def _hba(d: Description) -> str:
    apps = {app.host for app in d.apps} | {worker.host for worker in d.workers}
    lookers = apps | {monitor.host for monitor in d.monitors}
    return template(
        "pooler_hba.conf",
        app_addresses=sorted(f"{d.addresses[host]}/32" for host in apps),
        monitor_addresses=sorted(f"{d.addresses[host]}/32" for host in lookers),
    )
