#!/usr/bin/python
"""What a host of the cluster can tell of itself: for ansible/status.yml. It only reads.

Nothing needs to be installed for it: a bare host answers too. Each part stands alone: one that
cannot be had is {"error": what was said}, and the others are there.
"""

import csv
import json
import os
import re
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: fulcrum_status
short_description: what a host of the cluster can tell of itself
description:
  - Reads uptime, memory, disks, failed units, certificates; and asks the host's own services.
options:
  ask:
    description: what runs here and where it answers, as infra.questions says.
    type: dict
    required: true
  secrets:
    description: what opens them; by names that infra.questions says.
    type: dict
    required: true
"""

TLS = Path("/etc/fulcrum/tls")
CURRENT = Path("/opt/fulcrum/current")
SOCKETS = Path("/run/fulcrum-pooler")
SECONDS = 10
DISKS = ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "overlay")
NODE = """
SELECT json_build_object(
    'follows', pg_is_in_recovery(),
    'timeline', (pg_control_checkpoint()).timeline_id,
    'connections', (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
    'most', current_setting('max_connections')::int,
    'size', pg_database_size(current_database()),
    'slots', (SELECT coalesce(json_agg(json_build_object(
        'name', slot_name, 'active', active, 'status', wal_status,
        'bytes', pg_wal_lsn_diff(
            CASE WHEN pg_is_in_recovery()
                THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
            restart_lsn)::bigint) ORDER BY slot_name), '[]') FROM pg_replication_slots))
"""
INFO = (
    *("used_memory", "maxmemory", "keyspace_hits", "keyspace_misses", "evicted_keys"),
    *("aof_enabled", "aof_last_write_status", "aof_last_bgrewrite_status"),
)

Part = dict[str, Any]


def run(*words: str, env: dict[str, str] | None = None) -> str:
    """What a command prints. Raises RuntimeError with what it said."""
    done = subprocess.run(  # noqa: S603 - our own arguments
        words,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd="/",
        env={**os.environ, "LC_ALL": "C", **(env or {})},
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip() or f"status {done.returncode}"
        raise RuntimeError(f"{Path(words[0]).name}: {said.splitlines()[-1]}")
    return done.stdout


def get(url: str, headers: dict[str, str] | None = None) -> Any:
    """The JSON at `url`, also that of a 503. The host shows its certificate, and checks others'."""
    context = None
    if url.startswith("https:"):
        context = ssl.create_default_context(cafile=str(TLS / "ca.crt"))
        context.load_cert_chain(TLS / "host.crt", TLS / "host.key")
    request = Request(url, headers=headers or {})  # noqa: S310 - our own
    try:
        with urlopen(request, timeout=SECONDS, context=context) as answer:  # noqa: S310
            return json.load(answer)
    except HTTPError as refusal:
        if refusal.code != 503:
            raise
        return json.load(refusal)


def host() -> Part:
    memory = dict(re.findall(r"^(\w+):\s+([0-9]+) kB$", Path("/proc/meminfo").read_text(), re.M))
    return {
        "up_seconds": _up_seconds(),
        "load": os.getloadavg()[0],
        "cores": os.cpu_count(),
        "memory_total": int(memory["MemTotal"]) * 1024,
        "memory_available": int(memory["MemAvailable"]) * 1024,
        "disks": _disks(),
        "failed_units": _failed_units(),
        "release": os.readlink(CURRENT).rpartition("/")[2] if CURRENT.is_symlink() else None,
        "certificates": {name: _ends(TLS / name) for name in ("host.crt", "ca.crt")},
        "now": int(time.time()),
    }


def _up_seconds() -> int:
    """Since its first process began: a container's own time, and a machine's."""
    since_boot = float(Path("/proc/uptime").read_text().split()[0])
    began = int(Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19])
    return int(since_boot - began / os.sysconf("SC_CLK_TCK"))


def _disks() -> list[Part]:
    found: dict[str, Part] = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        device, mount, kind = line.split()[:3]
        if kind in DISKS and device not in found and not mount.startswith("/run/"):
            size = os.statvfs(mount)
            found[device] = {
                "mount": mount,
                "size": size.f_blocks * size.f_frsize,
                "free": size.f_bavail * size.f_frsize,
            }
    return sorted(found.values(), key=lambda disk: disk["mount"])


def _failed_units() -> list[str]:
    lines = run("systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager")
    return [line.split()[0] for line in lines.splitlines()]


def _ends(path: Path) -> int | None:
    """When the first of the certificates in the file ends, since 1970."""
    if not path.exists():
        return None
    texts = re.findall(r"-----BEGIN CERT.*?-----END CERT[^\n]*\n", path.read_text(), re.S)
    return min(_end(text) for text in texts)


def _end(certificate: str) -> int:
    words = ["openssl", "x509", "-noout", "-enddate"]
    done = subprocess.run(  # noqa: S603 - our own arguments
        words, input=certificate, capture_output=True, text=True, timeout=SECONDS, check=True
    )
    return int(ssl.cert_time_to_seconds(done.stdout.strip().removeprefix("notAfter=")))


def database(ask: Part) -> Part:
    """Patroni's view of all nodes, and this node's own."""
    return {"cluster": part(_patroni, ask), "node": part(_node, ask)}


def _patroni(ask: Part) -> Part:
    seen: Part = get(f"https://{ask['host']}:{ask['rest_port']}/cluster")
    keys = ("name", "role", "state", "timeline", "lag")
    members = [{key: member.get(key) for key in keys} for member in seen["members"]]
    return {"members": members, "paused": bool(seen.get("pause"))}


def _node(ask: Part) -> Part:
    psql = ["psql", "-XAtq", f"--port={ask['port']}", f"--dbname={ask['name']}"]
    text = run("runuser", "--user=postgres", "--", *psql, f"--command={NODE}")
    node: Part = json.loads(text)
    return node


def pooler(ask: Part) -> Part:
    """How many processes answer, and a row for each pool that has been used."""
    lines = run("/usr/local/sbin/fulcrum-pooler", "show", "--host", ask["host"]).splitlines()
    rows = csv.DictReader([",".join(line.split()) for line in lines])
    return {"processes": len({path.parent for path in SOCKETS.glob("*/.s.*")}), "pools": list(rows)}


def redis(ask: Part, secrets: Part) -> Part:
    cli = ["redis-cli", "--tls", "--cacert", str(TLS / "ca.crt"), "--no-auth-warning", "-e"]
    cli += ["-h", ask["host"], "-p", str(ask["port"]), "--user", ask["user"]]
    env = {"REDISCLI_AUTH": secrets["redis"]}
    info = dict(re.findall(r"^(\w+):(.*?)\r?$", run(*cli, "INFO", env=env), re.M))
    found: Part = {key: _number(info[key]) for key in INFO}
    if ask["queue"]:
        found["waiting"] = int(run(*cli, "LLEN", ask["queue"], env=env))
    return found


def _number(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def etcd(ask: Part) -> Part:
    health: Part = get(f"https://{ask['host']}:{ask['port']}/health")
    return {"healthy": health["health"] == "true", "reason": health.get("reason", "")}


def site(ask: Part, secrets: Part) -> Part:
    told: Part = get(f"{ask['url']}/readyz", {"Authorization": f"Bearer {secrets['probe']}"})
    return {"ready": told["ready"], "degraded": told["degraded"], "map": told["map"]["version"]}


def monitor(ask: Part, secrets: Part) -> Part:
    """The alerts that fire, and the targets that do not answer."""
    opened = {"Authorization": f"Basic {secrets['monitor']}"}
    alerts = get(f"{ask['url']}/api/v1/alerts", opened)["data"]["alerts"]
    targets = get(f"{ask['url']}/api/v1/targets?state=active", opened)["data"]["activeTargets"]
    return {
        "alerts": [_alert(alert) for alert in alerts if alert["state"] == "firing"],
        "targets": len(targets),
        "down": sorted(t["scrapeUrl"] for t in targets if t["health"] == "down"),
    }


def _alert(alert: Part) -> Part:
    notes = alert.get("annotations", {})
    return {
        "name": alert["labels"]["alertname"],
        "severity": alert["labels"].get("severity", ""),
        "summary": notes.get("summary", ""),
        "chapter": notes.get("runbook", "").partition("#")[2],
        "since": alert["activeAt"],
    }


def part(work: Callable[..., Any], *arguments: Any) -> Any:
    """What `work` finds, or {"error": why it could not}."""
    try:
        return work(*arguments)
    except Exception as error:  # whatever one service does, the others are shown
        said = str(getattr(error, "reason", "") or error).strip() or type(error).__name__
        return {"error": re.sub(r"^\[Errno [0-9]+\] ", "", said).splitlines()[0][:200]}


def collect(ask: Part, secrets: Part) -> Part:
    """Every part that `ask` names."""
    found: Part = {"host": part(host)}
    if ask["databases"]:
        found["databases"] = {one["name"]: part(database, one) for one in ask["databases"]}
    if ask["caches"]:
        found["caches"] = {one["name"]: part(redis, one, secrets) for one in ask["caches"]}
    if ask["pooler"]:
        found["pooler"] = part(pooler, ask["pooler"])
    if ask["etcd"]:
        found["etcd"] = part(etcd, ask["etcd"])
    if ask["site"]:
        found["site"] = part(site, ask["site"], secrets)
    if ask["monitor"]:
        found["monitor"] = part(monitor, ask["monitor"], secrets)
    return found


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "ask": {"type": "dict", "required": True},
            "secrets": {"type": "dict", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    seen = collect(module.params["ask"], module.params["secrets"])
    module.exit_json(changed=False, seen=seen)


if __name__ == "__main__":
    main()
