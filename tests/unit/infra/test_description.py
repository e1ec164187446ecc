"""A wrong description is refused with file, line and cure; everything wrong is said at once."""

from pathlib import Path

import pytest

from infra.cli import main
from infra.description import load
from infra.errors import ClusterError, DescriptionError
from infra.layout import CHECKOUT

LOCAL = CHECKOUT / "infra" / "cluster.yml"


def line_of(text: str, part: str, occurrence: int = 1) -> int:
    """The number of the line on which `part` stands for the nth time."""
    lines = [number for number, line in enumerate(text.splitlines(), 1) if part in line]
    return lines[occurrence - 1]


def refuse(path: Path, text: str) -> list[str]:
    """The messages with which a description is refused, without the file's name."""
    path.write_text(text)
    with pytest.raises(DescriptionError) as caught:
        load(path)
    assert caught.value.exit_status == 2
    messages = str(caught.value).splitlines()
    assert all(message.startswith(f"{path}:") for message in messages)
    return [message.removeprefix(f"{path}:") for message in messages]


def change(old: str, new: str, count: int = 1) -> str:
    """The local cluster's description with a change."""
    text = LOCAL.read_text()
    assert old in text
    return text.replace(old, new, count)


SHARD02 = "  - name: shard02\n    number: 2"
NODE01 = "{ role: primary, host: 127.0.0.1, port: 15431 }"

BROKEN = [
    ("port: 15431", "prot: 15431", "prot: 15431", "unknown key 'prot'; did you mean 'port'?"),
    ("port: 15431", "prot: 15431", "prot: 15431", "the key 'port' is missing in "),
    ("cluster: local", "klutser: x\ncluster: local", "klutser", "unknown key 'klutser'; did you"),
    (
        "cluster: local",
        "zzz: x\ncluster: local",
        "zzz",
        "unknown key 'zzz'; known here: addresses, ap",
    ),
    (
        "pool_size: 20",
        'pool_size: "20"',
        'pool_size: "20"',
        "pool_size: '20'; write a whole number without quotes",
    ),
    ("fsync: true", "fsync: 1", "fsync: 1", "fsync: 1; write true or false"),
    ("port: 15431", "port: 80", "port: 80 ", "port: 80; write 1024 or more"),
    ("port: 15431", "port: 70000", "port: 70000", "port: 70000; write 65535 or less"),
    ("number: 1\n", "number: 512\n", "number: 512", "number: 512; write 511 or less"),
    (
        SHARD02,
        "  - name: shard01\n    number: 2",
        "number: 2",
        "two shards are called 'shard01'; give each shard a name of its own",
    ),
    (
        SHARD02,
        "  - name: shard02\n    number: 1",
        "number: 1",
        "number 1 is shard01's already; take an unused number from 0 to 511",
    ),
    ("name: shard02", "name: default", "name: default", "'default' is a reserved name; name the"),
    ("name: shard02", "name: web", "name: web", "'web' is a reserved name; name the shard like"),
    ("name: shard02", "name: Shard-2", "Shard-2", "name: 'Shard-2'; use lower-case letters, dig"),
    ("name: shard02", "name: 2", "name: 2", "name: 2; write text, in quotes if it looks like"),
    (
        NODE01,
        NODE01.replace("primary", "replica"),
        "port: 15431",
        "shard 'shard01' has no primary; give exactly one node `role: primary`",
    ),
    (
        NODE01,
        f"{NODE01}\n      - {NODE01.replace('15431', '15439')}",
        "port: 15431",
        "shard 'shard01' has 2 primaries; give exactly one node `role: primary`",
    ),
    (NODE01, NODE01.replace("primary", "leader"), "leader", "role: 'leader'; write 'primary' or"),
    (
        "port: 16380",
        "port: 15430",
        "port: 15430",
        "127.0.0.1:15430 is taken by 'default'; give 'broker' a port of its own",
    ),
    (
        "host: 127.0.0.1, port: 15432",
        'host: "a b", port: 15432',
        "a b",
        "host: 'a b'; write a host",
    ),
    (
        "max_connections: 60",
        "max_connections: 40",
        "max_connections: 40",
        "25 from the poolers + 20 direct + 3 reserved = 48 connections to each PostgreSQL, and "
        "max_connections is 40; lower pool_size, reserve_pool or processes, or raise",
    ),
    (
        "processes: 1",
        "processes: 2",
        "max_connections: 60",
        "50 from the poolers + 20 direct + 3 reserved = 73 connections to each PostgreSQL, and",
    ),
    (
        "etcd: []",
        "etcd: [{ host: a }, { host: b }]",
        "etcd: [",
        "2 etcd members, an even number, survive no more failures than 1; have an odd number: 1 or",
    ),
    (
        "addresses: {}",
        "addresses: { a: 10.0.0.1, b: 10.0.0.1 }",
        "addresses: {",
        "10.0.0.1 is a's already; give b an address of its own",
    ),
    ("addresses: {}", "addresses: { a: 10.0.0.256 }", "addresses: {", "10.0.0.256 is no address"),
    (
        "max_client_conn: 400",
        "max_client_conn: 50",
        "max_client_conn: 50",
        "12 threads x 5 databases = 60 client connections, and the poolers accept 50; raise",
    ),
    (
        "max_replication_slots: 20",
        "max_replication_slots: 7",
        "max_replication_slots: 7",
        "the catalog, with 4 shards, needs 8 for replicas, subscriptions and backups, and "
        "max_replication_slots is 7; raise max_replication_slots to 8 or more",
    ),
    (
        "max_wal_senders: 20",
        "max_wal_senders: 9",
        "max_wal_senders: 9",
        "the catalog, with 4 shards, needs 10 for replicas, subscriptions and backups, and "
        "max_wal_senders is 9; raise max_wal_senders to 10 or more",
    ),
    (
        "max_slot_wal_keep_size: 4GB",
        "max_slot_wal_keep_size: 0",
        "max_slot_wal_keep_size: 0",
        "max_slot_wal_keep_size: 0; write text, in quotes if it looks like",
    ),
    ("purpose: broker", "purpose: cache", "caches:", "no Redis has `purpose: broker`; have exac"),
    ("fsync: true", "fsync: true\n  fsync: false", "fsync: false", "the key 'fsync' stands twice"),
    (
        "shared_buffers: 128MB",
        "shared_buffers: lots",
        "lots",
        "shared_buffers: 'lots'; write a siz",
    ),
    ("beat: python", "beet: python", "beet: python", "unknown key 'beet'; did you mean 'beat'?"),
    ("as: app\n", "as: root\n", "as: root", "as: 'root'; write 'admin', 'owner' or 'app'"),
    ("cluster: local", "cluster: [local", "catalog:", "not valid YAML: "),
    ("cluster: local", "cluster:\tlocal\n\tx: 1", "x: 1", "not valid YAML: "),
]


@pytest.mark.parametrize(("old", "new", "where", "said"), BROKEN)
def test_each_mistake_is_refused_on_its_line(
    tmp_path: Path, old: str, new: str, where: str, said: str
) -> None:
    text = change(old, new)
    messages = refuse(tmp_path / "cluster.yml", text)
    last = len([line for line in text.splitlines() if where.strip() in line])
    lines = [line_of(text, where.strip(), n) for n in range(1, last + 1)]
    matching = [message for message in messages if message.partition(": ")[2].startswith(said)]
    assert matching, messages
    if "not valid YAML" not in said:
        assert any(int(message.split(":")[0]) in _near(lines) for message in matching), messages


def _near(lines: list[int]) -> set[int]:
    """Those lines; a shard's node list begins on the line where its first node stands."""
    return {*lines, *(line - 1 for line in lines)}


def test_every_problem_is_listed_at_once(tmp_path: Path) -> None:
    text = change("fsync: true", "fsnyc: true").replace("port: 16432", "port: x")
    messages = refuse(tmp_path / "cluster.yml", text.replace("number: 4", "number: -4"))
    assert len(messages) == 4
    assert [int(m.split(":")[0]) for m in messages] == sorted(
        int(m.split(":")[0]) for m in messages
    )


def test_a_missing_key_is_said_with_the_line_of_its_parent(tmp_path: Path) -> None:
    text = LOCAL.read_text()
    text = "\n".join(line for line in text.splitlines() if "shared_buffers" not in line)
    [message] = refuse(tmp_path / "cluster.yml", text)
    assert int(message.split(":")[0]) == line_of(text, "postgres:")
    assert "'shared_buffers' is missing in postgres; add `shared_buffers:` there" in message


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_is_refused(tmp_path: Path, text: str) -> None:
    assert refuse(tmp_path / "cluster.yml", text) == [
        "1: the file is empty; copy infra/cluster.yml and change it"
    ]


@pytest.mark.parametrize("text", ["just words", "[1, 2]", "42", "&a [*a]"])
def test_a_file_of_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    assert refuse(tmp_path / "cluster.yml", text)


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yml"
    path.write_bytes(b"cluster: a\nb: \xff\xfe\n")
    with pytest.raises(DescriptionError, match=r":2: not UTF-8 text; save the file as UTF-8"):
        load(path)


def test_no_such_file_and_a_directory(tmp_path: Path) -> None:
    with pytest.raises(DescriptionError, match=r":1: no such file; name another with --cluster"):
        load(tmp_path / "none.yml")
    with pytest.raises(DescriptionError, match=r":1: Is a directory; make it a file"):
        load(tmp_path)


def test_the_command_ends_with_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cluster.yml"
    path.write_text(change("fsync: true", "fsnyc: true"))
    assert main(["--cluster", str(path), "validate"]) == 2
    captured = capsys.readouterr()
    assert f"{path}:" in captured.err
    assert "did you mean 'fsync'?" in captured.err
    assert main(["validate"]) == 0


def test_the_local_description_is_right() -> None:
    description = load(LOCAL).description
    assert list(description.primaries) == ["default", *(f"shard0{n}" for n in range(1, 5))]


def test_replicas_and_several_poolers_are_a_valid_description(tmp_path: Path) -> None:
    replica = "- { role: replica, host: 10.0.0.2, port: 15431 }"
    path = tmp_path / "cluster.yml"
    path.write_text(change(NODE01, f"{NODE01}\n      {replica}"))
    nodes = load(path).description.nodes["shard01"]
    assert [node.role for node in nodes] == ["primary", "replica"]


def with_replicas(folder: Path, text: str, *ports: int) -> Path:
    """A description with replicas of shard01."""
    path = folder / "cluster.yml"
    lines = [f"- {{ role: replica, host: 127.0.0.1, port: {port} }}" for port in ports]
    path.write_text(text.replace(f"- {NODE01}", "\n      ".join([f"- {NODE01}", *lines])))
    return path


def test_a_replica_added_last_renames_no_other(tmp_path: Path) -> None:
    d = load(with_replicas(tmp_path, LOCAL.read_text(), 15441, 15442, 15443)).description
    names = ["shard01_replica", "shard01_replica2", "shard01_replica3"]
    assert d.replicas == dict.fromkeys(names, "shard01")
    assert [d.servers[name].port for name in names] == [15441, 15442, 15443]
    assert list(d.servers)[:5] == list(d.primaries)
    assert {d.database(name) for name in names} == {"shard01"}
    assert [d.pooled(name) for name in names] == names


def test_the_catalogs_replica(tmp_path: Path) -> None:
    primary = "- { role: primary, host: 127.0.0.1, port: 15430 }"
    path = tmp_path / "cluster.yml"
    path.write_text(
        change(primary, f"{primary}\n    - {{ role: replica, host: 127.0.0.1, port: 15440 }}")
    )
    d = load(path).description
    assert d.replicas == {"default_replica": "default"}
    assert (d.database("default_replica"), d.pooled("default_replica")) == (
        "catalog",
        "catalog_replica",
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "max_client_conn: 400",
            "max_client_conn: 70",
            "12 threads x 6 databases = 72 client connections, and the poolers accept 70",
        ),
        ("name: shard02", "name: shard01_replica", "'shard01_replica' is the name of a replica"),
        (
            "port: 16380",
            "port: 15441",
            "127.0.0.1:15441 is taken by 'shard01_replica'; give 'broker' a port of its own",
        ),
    ],
)
def test_replicas_count_where_databases_do(tmp_path: Path, old: str, new: str, said: str) -> None:
    load(with_replicas(tmp_path, LOCAL.read_text().replace("conn: 400", "conn: 72"), 15441))
    with pytest.raises(DescriptionError) as caught:
        load(with_replicas(tmp_path, change(old, new), 15441))
    assert said in str(caught.value)


@pytest.mark.parametrize(("replicas", "needed"), [(2, None), (17, 21)])
def test_replicas_take_slots_and_senders(tmp_path: Path, replicas: int, needed: int | None) -> None:
    text = LOCAL.read_text().replace("max_wal_senders: 20", "max_wal_senders: 23")
    path = with_replicas(tmp_path, text, *range(15441, 15441 + replicas))
    if needed is None:
        assert len(load(path).description.replicas) == replicas
        return
    with pytest.raises(DescriptionError, match=f"shard01 needs {needed} for replicas, .* is 20"):
        load(path)


def test_errors_are_one_family() -> None:
    assert issubclass(DescriptionError, ClusterError)
