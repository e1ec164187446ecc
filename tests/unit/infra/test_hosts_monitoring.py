"""Exporters, and what Prometheus asks and warns of, in the cluster of the example inventory."""

import ctypes
import json
import re
import runpy
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from infra.credentials import Credentials
from infra.hosts import Cluster, Facts, HostFile, files, variables
from infra.hosts.exporters import exporters
from infra.hosts.firewall import ways
from infra.hosts.monitoring import jobs
from infra.inventory_read import read_inventory
from infra.layout import CHECKOUT
from infra.schema import Description

FACTS = Facts(memory_mb=1024, cores=2)
CREDENTIALS = Credentials.generate()
PROMTOOL = shutil.which("promtool") or ""
needs_promtool = pytest.mark.skipif(not PROMTOOL, reason="needs promtool: Debian's prometheus")


@pytest.fixture(scope="module")
def d() -> Description:
    return read_inventory(CHECKOUT / "ansible" / "inventories" / "example").description


def made(d: Description, service: str, host: str) -> dict[str, HostFile]:
    cluster = Cluster(d, CREDENTIALS, authority=None)  # type: ignore[arg-type]
    return {file.path: file for file in files(service, cluster, host, FACTS)}


def rules(d: Description) -> str:
    return made(d, "monitoring", "front1")["/etc/prometheus/fulcrum.rules.yml"].content


def test_every_service_has_an_exporter(d: Description) -> None:
    at = {(e.host, e.name): e.port for e in exporters(d)}
    assert [name for host, name in at if host == "app2"] == [
        "node-host",
        "pgbouncer-1",
        "pgbouncer-2",
        "redis-broker",
    ]
    assert at["db1", "postgres-catalog"] == 9187
    assert at["db5", "postgres-shard01"] == at["db2", "postgres-shard01"] == 9188
    assert {host for host, name in at if name == "node-host"} == set(d.hosts)


def test_no_two_listen_at_one_address(d: Description) -> None:
    taken = [(e.host, e.port) for e in exporters(d)] + [
        (target.host, target.port)
        for job in jobs(d)
        if job.scheme == "http"
        for target in job.targets
    ]
    assert len(taken) == len(set(taken))


def test_without_monitors_there_is_nothing_to_ask(d: Description) -> None:
    nobody = d.model_copy(update={"monitors": []})
    assert exporters(nobody) == []
    assert made(nobody, "exporters", "db1") == {}
    assert not [way for way in ways(nobody) if "figures" in way.what and way.sources]


def test_passwords_stand_in_environment_files_alone(d: Description) -> None:
    secrets = {CREDENTIALS.monitor, CREDENTIALS.pooler_monitor, CREDENTIALS.redis_monitor}
    seen = set()
    for host in d.hosts:
        for path, file in made(d, "exporters", host).items():
            known = {secret for secret in secrets if secret in file.content}
            assert file.mode == (0o640 if path.endswith(".env") else 0o644), path
            assert path.endswith(".env") or not known, path
            seen |= known
    assert seen == secrets
    config = made(d, "monitoring", "front1")
    assert [p for p, f in config.items() if CREDENTIALS.probe_token in f.content] == [
        "/etc/prometheus/probe_token"
    ]
    assert config["/etc/prometheus/probe_token"].secret


def test_what_exporters_ask(d: Description) -> None:
    postgres = made(d, "exporters", "db5")["/etc/fulcrum/exporters/postgres-shard01.env"].content
    assert "@db5:5433/shard01?sslmode=verify-full&" in postgres
    pooler = made(d, "exporters", "app1")["/etc/fulcrum/exporters/pgbouncer-2.env"].content
    assert "host=/run/fulcrum-pooler/2 port=6432 dbname=pgbouncer" in pooler
    redis = made(d, "exporters", "app2")["/etc/fulcrum/exporters/redis-broker.env"].content
    assert "REDIS_ADDR=rediss://app2:6380\n" in redis


def test_units_and_files_belong_together(d: Description) -> None:
    cluster = Cluster(d, CREDENTIALS, authority=None)  # type: ignore[arg-type]
    told = variables("exporters", cluster, "app2", FACTS)
    there = made(d, "exporters", "app2")
    assert set(told["environments"]) == {path for path in there if path.endswith(".env")}
    for unit in told["units"]:
        assert f"/etc/systemd/system/{unit.split('@')[0]}@.service" in there


def test_monitors_alone_reach_every_target(d: Description) -> None:
    open_to = {(way.host, way.port) for way in ways(d) if "front1" in way.sources}
    asked = {(target.host, target.port) for job in jobs(d) for target in job.targets}
    assert {(host, port) for host, port in asked if host != "front1"} <= open_to
    figures = [way for way in ways(d) if way.what.startswith("figures")]
    assert {source for way in figures for source in way.sources} == {"front1"}


def test_whom_prometheus_asks(d: Description) -> None:
    config = yaml.safe_load(
        made(d, "monitoring", "front1")["/etc/prometheus/prometheus.yml"].content
    )
    by_name = {job["job_name"]: job for job in config["scrape_configs"]}
    assert list(by_name)[1:] == [job.name for job in jobs(d)]
    assert {"targets": ["db2:8009"], "labels": {"host": "db2", "shard": "shard01"}} in by_name[
        "patroni"
    ]["static_configs"]
    assert by_name["etcd"]["tls_config"]["cert_file"] == "/etc/fulcrum/tls/host.crt"
    assert by_name["site"]["authorization"] == {"credentials_file": "/etc/prometheus/probe_token"}


def test_prometheus_answers_to_whoever_knows_the_token(d: Description) -> None:
    files = made(d, "monitoring", "front1")
    [unit] = [
        file.content for path, file in files.items() if path.endswith(".service.d/fulcrum.conf")
    ]
    assert "--web.config.file=/etc/prometheus/web.yml " in unit
    assert "--web.listen-address=192.0.2.31:9090" in unit
    itself = yaml.safe_load(files["/etc/prometheus/prometheus.yml"].content)["scrape_configs"][0]
    assert itself["basic_auth"]["password_file"] == "/etc/prometheus/probe_token"
    site = json.loads(made(d, "app", "app2")["/var/lib/fulcrum/site.json"].content)
    assert site["monitors"] == [
        {
            "url": "https://front1:9090",
            "ca": "/etc/fulcrum/tls/ca.crt",
            "user": "fulcrum_site",
            "password": CREDENTIALS.probe_token,
        }
    ]
    owner = json.loads(made(d, "app", "app1")["/var/lib/fulcrum-owner/site-owner.json"].content)
    assert owner["monitors"] == []


def test_the_hash_of_the_token_opens_and_stays_the_same() -> None:
    path = CHECKOUT / "ansible" / "roles" / "monitoring" / "files" / "fulcrum_web.py"
    bcrypt = runpy.run_path(str(path))["bcrypt"]
    hashed = bcrypt(b"a token")
    assert hashed == bcrypt(b"a token") != bcrypt(b"another")
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    assert crypt(b"a token", hashed.encode()).decode() == hashed
    assert crypt(b"another", hashed.encode()).decode() != hashed


def test_every_alert_leads_to_a_chapter(d: Description) -> None:
    text = (CHECKOUT / "ansible" / "RUNBOOKS.md").read_text()
    headings = re.findall(r"^## (.+)$", text, re.M)
    anchors = {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings}
    assert set(re.findall(r"RUNBOOKS\.md#(\S+)", rules(d))) <= anchors
    assert set(re.findall(r"alert: (\w+)", rules(d))) == {case.alert for case in CASES}


def test_runbooks_name_playbooks_that_exist() -> None:
    text = (CHECKOUT / "ansible" / "RUNBOOKS.md").read_text()
    named = set(re.findall(r"ansible/([a-z_]+\.yml)", text))
    assert named
    assert {name for name in named if not (CHECKOUT / "ansible" / name).exists()} == set()


@dataclass(frozen=True)
class Case:
    """Series that an alert is about, and the same of a healthy cluster; a sample a minute."""

    alert: str
    bad: dict[str, str]
    good: dict[str, str]


NODE = 'up{job="node",host="db1",instance="db1:9100"}'
PATRONI = 'up{job="patroni",host="db%d",shard="shard01",instance="db%d:8009"}'
PRIMARY = 'patroni_primary{host="db%d",shard="shard01",instance="db%d:8009"}'
DISK = '{host="db1",mountpoint="/",fstype="ext4"}'
AT = 'host="app1",process="1",instance="app1:9801"'
BROKER = '{host="app2",purpose="broker",instance="app2:9122"}'
FOLLOWS = '{host="db5",shard="shard01",instance="db5:8009"}'
LEADS = '{host="db2",shard="shard01",instance="db2:8009"}'
QUEUE = '{host="app2",purpose="broker",instance="app2:9122",key="celery"}'


def one(alert: str, series: str, bad: str, good: str) -> Case:
    return Case(alert, {series: bad}, {series: good})


def both(alert: str, always: dict[str, str], series: str, bad: str, good: str) -> Case:
    return Case(alert, {**always, series: bad}, {**always, series: good})


ETCD = {f'up{{job="etcd",host="db{n}",instance="db{n}:2379"}}': "1x130" for n in (1, 2, 3)}
LEADER = 'etcd_server_has_leader{host="db%d",instance="db%d:2379"}'
CASES = [
    one("HostDown", NODE, "0x130", "1x130"),
    both("TargetDown", {NODE: "1x130"}, 'up{job="redis",host="db1"}', "0x130", "1x130"),
    one("ServiceDown", 'pg_up{host="db1",shard="catalog"}', "0x130", "1x130"),
    both(
        "DiskFillsSoon",
        {f"node_filesystem_size_bytes{DISK}": "100000x130"},
        f"node_filesystem_avail_bytes{DISK}",
        "38000-30x130",
        "38000-10x130",
    ),
    both(
        "DiskNearlyFull",
        {f"node_filesystem_size_bytes{DISK}": "1000x130"},
        f"node_filesystem_avail_bytes{DISK}",
        "99x130",
        "101x130",
    ),
    one(
        "CertificateEndsSoon",
        'fulcrum_certificate_ends_seconds{host="db1",file="host.crt"}',
        f"{20 * 86400}x130",
        f"{22 * 86400}x130",
    ),
    both(
        "ShardWithoutPrimary",
        {PATRONI % (2, 2): "1x130", PATRONI % (5, 5): "1x130", PRIMARY % (2, 2): "0x130"},
        PRIMARY % (5, 5),
        "0x130",
        "1x130",
    ),
    both("ShardWithTwoPrimaries", {PRIMARY % (2, 2): "1x130"}, PRIMARY % (5, 5), "1x130", "0x130"),
    both(
        "ReplicaLags",
        {
            f"patroni_xlog_location{LEADS}": "50000000x130",
            f"patroni_xlog_replayed_location{LEADS}": "0x130",
            f"patroni_replica{LEADS}": "0x130",
            f"patroni_replica{FOLLOWS}": "1x130",
        },
        f"patroni_xlog_replayed_location{FOLLOWS}",
        "33000000x130",
        "34000000x130",
    ),
    one(
        "SlotHoldsWal",
        'pg_replication_slots_pg_wal_lsn_diff{host="db1",slot_name="shard01"}',
        f"{9 * 2**30}x130",
        f"{7 * 2**30}x130",
    ),
    both(
        "ConnectionsNearTheirMost",
        {
            'pg_settings_max_connections{host="db1",instance="db1:9187"}': "200x130",
            'pg_stat_activity_count{host="db1",instance="db1:9187",state="idle"}': "100x130",
        },
        'pg_stat_activity_count{host="db1",instance="db1:9187",state="active"}',
        "61x130",
        "59x130",
    ),
    both(
        "EtcdWithoutMajority",
        ETCD | {LEADER % (1, 1): "1x130", LEADER % (3, 3): "0x130"},
        LEADER % (2, 2),
        "0x130",
        "1x130",
    ),
    one("PoolerClientsWait", f"pgbouncer_pools_client_maxwait_seconds{{{AT}}}", "2x130", "1x130"),
    both(
        "PoolerNearlyFull",
        {f"pgbouncer_config_max_client_connections{{{AT}}}": "1000x130"},
        f"pgbouncer_used_clients{{{AT}}}",
        "801x130",
        "799x130",
    ),
    one("PoolerPaused", f'pgbouncer_databases_paused{{{AT},name="shard01"}}', "1x130", "0x130"),
    both(
        "PoolerSeesNoServer",
        {'haproxy_backend_backup_servers{host="app1",proxy="shard01"}': "0x130"},
        'haproxy_backend_active_servers{host="app1",proxy="shard01"}',
        "0x130",
        "1x130",
    ),
    one("RedisDown", f"redis_up{BROKER}", "0x130", "1x130"),
    both(
        "BrokerMemory",
        {f"redis_memory_max_bytes{BROKER}": "1000x130"},
        f"redis_memory_used_bytes{BROKER}",
        "860x130",
        "840x130",
    ),
    one("BrokerEvicts", f"redis_evicted_keys_total{BROKER}", "0+1x130", "5x130"),
    one("QueueGrows", f"redis_key_size{QUEUE}", "2000+1x130", "2000x130"),
    both(
        "SiteErrors",
        {'routers_query_seconds_count{host="app1",database="shard01"}': "0+1000x130"},
        'routers_query_errors_total{host="app1",database="shard01",error="OperationalError"}',
        "0+11x130",
        "0+9x130",
    ),
    one("ShardMapOld", 'routers_map_age_seconds{host="app1"}', "61x130", "9x130"),
]


@needs_promtool
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_an_alert_fires_when_it_should_and_only_then(
    d: Description, case: Case, tmp_path: Path
) -> None:
    (tmp_path / "rules.yml").write_text(rules(d))
    fires = f'count(ALERTS{{alertname="{case.alert}",alertstate="firing"}})'
    tests = [
        {
            "name": name,
            "interval": "1m",
            "input_series": [{"series": key, "values": value} for key, value in series.items()],
            "promql_expr_test": [
                {"expr": f"{fires} > 0 or vector(0)", "eval_time": "2h", "exp_samples": [expected]}
            ],
        }
        for name, series, expected in (
            ("bad", case.bad, {"labels": "{}", "value": 1}),
            ("good", case.good, {"labels": "{}", "value": 0}),
        )
    ]
    asked = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "tests.yml").write_text(json.dumps(asked))
    done = subprocess.run(
        [PROMTOOL, "test", "rules", str(tmp_path / "tests.yml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_takes_the_configuration(d: Description, tmp_path: Path) -> None:
    config = tmp_path / "prometheus.yml"
    config.write_text(made(d, "monitoring", "front1")["/etc/prometheus/prometheus.yml"].content)
    words = [PROMTOOL, "check", "config", "--syntax-only", str(config)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
