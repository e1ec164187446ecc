"""A wrong inventory is refused without touching a host, with file, line, variable and cure."""

import base64
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.ansible_tools import ansible
from infra.cli import main
from infra.errors import ClusterError, DescriptionError, InventoryError
from infra.inventory_read import read_inventory
from infra.inventory_variables import DEFAULTS, KNOWN
from infra.schema import Description
from tests.lab.inventory import write_inventory
from tests.unit.infra.example import EXAMPLE

HOSTS, CLUSTER = "hosts.yml", "group_vars/all/cluster.yml"


@dataclass(frozen=True)
class Broken:
    """A change of the example, the line that the message names, and what it says."""

    file: str
    old: str
    new: str
    where: str
    said: str


BROKEN = {
    "a misspelt variable": Broken(
        CLUSTER,
        "fulcrum_synchronous: true",
        "fulcrum_synchronus: true",
        "fulcrum_synchronus",
        "unknown variable 'fulcrum_synchronus'; did you mean 'fulcrum_synchronous'?",
    ),
    "a renamed variable": Broken(
        HOSTS,
        "        db5:\n",
        "        db5: { fulcrum_role: replica }\n",
        "fulcrum_role",
        "unknown variable 'fulcrum_role'; write `fulcrum_primary: HOST` among the variables of",
    ),
    "a misspelt key": Broken(
        CLUSTER,
        "# fulcrum_app:",
        "fulcrum_pooler: { proceses: 2 }\n# fulcrum_app:",
        "proceses",
        "fulcrum_pooler: unknown key 'proceses'; did you mean 'processes'?",
    ),
    "a number in quotes": Broken(
        CLUSTER,
        "# fulcrum_app:",
        'fulcrum_pooler:\n  processes: 2\n  pool_size: "20"\n# fulcrum_app:',
        'pool_size: "20"',
        "fulcrum_pooler.pool_size: pool_size: '20'; write a whole number without quotes",
    ),
    "no mapping": Broken(
        CLUSTER,
        "# fulcrum_app:",
        "fulcrum_app: 4\n# fulcrum_app:",
        "fulcrum_app: 4",
        "fulcrum_app: no mapping; write keys and values, indented below it: workers, threads",
    ),
    "a misspelt group": Broken(
        HOSTS,
        "\npoolers:",
        "\npoolars:",
        "poolars:",
        "unknown group 'poolars'; did you mean 'poolers'?",
    ),
    "no pooler": Broken(
        HOSTS,
        "\npoolers:",
        "\npoolars:",
        "all:",
        "group 'poolers' has no host; name its hosts below `poolers:`, `hosts:`",
    ),
    "a shard without a primary": Broken(
        HOSTS,
        "        fulcrum_primary: db2\n",
        "",
        "shard01:",
        "shard 'shard01' has 2 hosts and no primary; write `fulcrum_primary: db2` among its",
    ),
    "a primary that is elsewhere": Broken(
        HOSTS,
        "fulcrum_primary: db2",
        "fulcrum_primary: db3",
        "fulcrum_primary: db3",
        "fulcrum_primary: 'db3' is no host of shard 'shard01'; name one of db2, db5",
    ),
    "two shards of one name": Broken(
        HOSTS,
        "    shard02:\n",
        "    shard01:\n",
        "    shard01:#2",
        "the key 'shard01' stands twice; delete one; the first is on line ",
    ),
    "two shards of one number": Broken(
        HOSTS,
        "{ fulcrum_number: 3 }",
        "{ fulcrum_number: 2 }",
        "{ fulcrum_number: 2 }#2",
        "fulcrum_number: number 2 is shard02's already; take an unused number from 0 to 511",
    ),
    "a number that is too large": Broken(
        HOSTS,
        "{ fulcrum_number: 3 }",
        "{ fulcrum_number: 512 }",
        "{ fulcrum_number: 512 }",
        "fulcrum_number: number: 512; write 511 or less",
    ),
    "a shard without a number": Broken(
        HOSTS,
        "      vars: { fulcrum_number: 3 }\n",
        "",
        "    shard03:",
        "fulcrum_number: shard 'shard03' has none; write `fulcrum_number:`, unused, 0 to 511",
    ),
    "a name that PostgreSQL would not take": Broken(
        HOSTS,
        "    shard03:\n",
        "    Shard3:\n",
        "    Shard3:",
        "group 'Shard3': name: 'Shard3'; use lower-case letters, digits and _",
    ),
    "a host in no shard": Broken(
        HOSTS,
        "\nshards:\n",
        "\nshards:\n  hosts:\n    db1:\n",
        "    db1:#3",
        "'db1' is in no shard; put it in a child group of its shard's name",
    ),
    "an even number of etcd members": Broken(
        HOSTS,
        "etcd:\n  hosts:\n    db1:\n",
        "etcd:\n  hosts:\n",
        "etcd:",
        "group 'etcd': 2 etcd members, an even number, survive no more failures than 1; have an "
        "odd number: 1 or 3",
    ),
    "pools that do not fit": Broken(
        CLUSTER,
        "# fulcrum_postgres:\n",
        "fulcrum_postgres: { max_connections: 100 }\n# fulcrum_postgres:\n",
        "max_connections: 100",
        "fulcrum_postgres.max_connections: 100 from the poolers + 40 direct + 5 reserved = 145 "
        "connections to each PostgreSQL, and max_connections is 100; lower pool_size, reserve_pool "
        "or processes, or raise max_connections",
    ),
    "more clients than the poolers take": Broken(
        CLUSTER,
        "# fulcrum_app:",
        "fulcrum_pooler: { max_client_conn: 40 }\n# fulcrum_app:",
        "fulcrum_pooler: { max_client_conn",
        "fulcrum_pooler.max_client_conn: 40 threads x 5 databases = 200 client connections, and "
        "the poolers accept 160; raise max_client_conn",
    ),
    "no broker": Broken(
        HOSTS,
        "[broker]",
        "[cache]",
        "[cache]",
        "fulcrum_purposes: no Redis has `purpose: broker`; have exactly one for each of cache",
    ),
    "a purpose that is none": Broken(
        HOSTS,
        "[broker]",
        "[queue]",
        "[queue]",
        "fulcrum_purposes: ['queue']; write [cache], [broker] or both",
    ),
    "an address for a name": Broken(
        HOSTS,
        "    db1: { ansible_host: 192.0.2.11 }",
        "    db1: { ansible_host: 192.0.2.11 }\n    192.0.2.99:",
        "    192.0.2.99:",
        "host '192.0.2.99' has an address for a name; call it db1 or the like, and give that",
    ),
    "no address": Broken(
        HOSTS,
        "db1: { ansible_host: 192.0.2.11 }",
        "db1:",
        "    db1:",
        "ansible_host: 'db1' has none; write its IPv4 address",
    ),
    "one address twice": Broken(
        HOSTS,
        "192.0.2.12",
        "192.0.2.11",
        "    db2: { ansible_host: 192.0.2.11",
        "ansible_host: 192.0.2.11 is db1's already; give db2 an address of its own",
    ),
    "a host that does nothing": Broken(
        HOSTS,
        "    front1: {",
        "    idle: { ansible_host: 192.0.2.99 }\n    front1: {",
        "    idle: {",
        "'idle' is in no group; give it something to do, or go",
    ),
    "memory in quotes": Broken(
        HOSTS,
        "192.0.2.21",
        '192.0.2.21, fulcrum_memory_mb: "8192"',
        'fulcrum_memory_mb: "8',
        "fulcrum_memory_mb: '8192'; write a whole number of MiB, 256 or more, without quotes",
    ),
    "the cluster's variable on one host": Broken(
        HOSTS,
        "192.0.2.21",
        "192.0.2.21, fulcrum_synchronous: false",
        "fulcrum_synchronous: false",
        "fulcrum_synchronous: 'app1' has another than app2; write it once, in group_vars/all",
    ),
    "no URL": Broken(
        CLUSTER,
        "public_url: https://fulcrum.example.org",
        "public_url: fulcrum.example.org/start",
        "public_url: fulcrum",
        "fulcrum_site.public_url: public_url: 'fulcrum.example.org/start'; write a URL such as",
    ),
    "no name of the cluster": Broken(
        CLUSTER,
        "fulcrum_cluster: example",
        "fulcrum_cluster: Example 1",
        "fulcrum_cluster: Ex",
        "fulcrum_cluster: cluster: 'Example 1'; use lower-case letters, digits and _",
    ),
    "no YAML": Broken(CLUSTER, "fulcrum_site:", "fulcrum_site: [", "", "not valid YAML: "),
}


def copied(folder: Path, *changes: tuple[str, str, str]) -> Path:
    """The example with changes: file, old, new."""
    path = folder / "inventory"
    shutil.copytree(EXAMPLE, path)
    for name, old, new in changes:
        text = (path / name).read_text()
        assert old in text
        (path / name).write_text(text.replace(old, new, 1))
    return path


def line_of(path: Path, where: str) -> int:
    """The line on which `where` stands; `words#2`: for the second time."""
    words, _, nth = where.partition("#")
    found = [n for n, line in enumerate(path.read_text().splitlines(), 1) if words in line]
    found = [n for n in found if not path.read_text().splitlines()[n - 1].lstrip().startswith("#")]
    return found[int(nth or 1) - 1]


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_each_mistake_is_refused_where_it_stands(tmp_path: Path, broken: Broken) -> None:
    path = copied(tmp_path, (broken.file, broken.old, broken.new))
    with pytest.raises((InventoryError, DescriptionError)) as caught:
        read_inventory(path)
    assert caught.value.exit_status == 2
    messages = str(caught.value).splitlines()
    begin = f"{path / broken.file}:"
    if broken.where and broken.where != "all:":
        begin += f"{line_of(path / broken.file, broken.where)}: {broken.said}"
    elif broken.where:
        begin = f"{path}:1: {broken.said}"
    assert [message for message in messages if message.startswith(begin)], messages
    assert [message for message in messages if broken.said in message], messages


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    path = copied(
        tmp_path,
        (HOSTS, "        fulcrum_primary: db2\n", ""),
        (HOSTS, "\nmonitors:", "\nmonitor:"),
        (CLUSTER, "fulcrum_synchronous:", "fulcrum_sync:"),
    )
    with pytest.raises(InventoryError) as caught:
        read_inventory(path)
    assert len(caught.value.violations) == 3
    assert all(violation.cure for violation in caught.value.violations)


def test_the_example_is_a_cluster_of_eight_hosts() -> None:
    d = read_inventory(EXAMPLE).description
    assert len(d.hosts) == 8
    assert list(d.servers) == ["default", "shard01", "shard02", "shard03", "shard01_replica"]
    assert (d.servers["shard01_replica"].host, d.servers["shard01_replica"].port) == ("db5", 5433)
    assert d.addresses["front1"] == "192.0.2.31"
    assert d.site.allowed_hosts == ["fulcrum.example.org"]
    assert d.databases_on("db5") == ["shard01_replica"]


def test_the_example_shows_every_variable_and_every_default() -> None:
    text = "".join(path.read_text() for path in EXAMPLE.rglob("*.yml"))
    hidden = {"fulcrum_secrets", "fulcrum_authority", "fulcrum_rotation"}
    assert [name for name in KNOWN if name not in text and name not in hidden] == []
    keys = {key for defaults in DEFAULTS.values() for key in defaults}
    assert [key for key in keys if key not in text] == []


def test_a_host_in_two_shards_has_each_with_its_own_number_and_primary(tmp_path: Path) -> None:
    path = copied(tmp_path, (HOSTS, "        db3:\n", "        db3:\n        db2:\n"))
    text = (path / HOSTS).read_text()
    numbered = "vars: { fulcrum_number: 2 }"
    (path / HOSTS).write_text(
        text.replace(numbered, "vars: { fulcrum_number: 2, fulcrum_primary: db3 }")
    )
    d = read_inventory(path).description
    assert d.databases_on("db2") == ["shard01", "shard02_replica"]
    assert {d.servers[alias].port for alias in d.databases_on("db2")} == {5433, 5434}


def test_a_replica_that_is_added_last_renames_no_other(tmp_path: Path) -> None:
    path = copied(tmp_path, (HOSTS, "        db5:\n", "        db5:\n        app1:\n"))
    d = read_inventory(path).description
    assert d.servers["shard01_replica"].host == "db5"
    assert d.servers["shard01_replica2"].host == "app1"


@pytest.mark.parametrize("hosts", range(3, 9))
def test_the_labs_inventories_are_right(tmp_path: Path, hosts: int) -> None:
    write_inventory(hosts, tmp_path / "lab")
    d = read_inventory(tmp_path / "lab").description
    assert len(d.hosts) == hosts
    assert len(d.etcd) == 3
    assert list(d.replicas) == ["shard01_replica"]


def looked_up(path: Path) -> str:
    """What the playbooks' lookup says of db1, which nobody connects to."""
    asked = "msg={{ lookup('fulcrum', 'description') | to_json | b64encode }}"
    return ansible("ansible", "-i", str(path), "db1", "-m", "ansible.builtin.debug", "-a", asked)


def test_the_lookup_of_the_playbooks_describes_the_same_cluster() -> None:
    said = re.search(r"msg: ['\"]?([A-Za-z0-9+/=]+)", looked_up(EXAMPLE))
    assert said
    description = json.loads(base64.b64decode(said[1]))
    assert Description.model_validate(description) == read_inventory(EXAMPLE).description


def test_the_lookup_refuses_what_the_command_refuses(tmp_path: Path) -> None:
    path = copied(tmp_path, (CLUSTER, "fulcrum_synchronous:", "fulcrum_sync:"))
    cure = r"unknown variable 'fulcrum_sync'; did you mean 'fulcrum_synchronous'\?"
    with pytest.raises(ClusterError, match=rf"cluster\.yml:\d+: {cure}"):
        looked_up(path)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inventory", str(EXAMPLE)]) == 0
    assert "is right: the cluster example, 8 hosts" in capsys.readouterr().out
    path = copied(tmp_path, (CLUSTER, "fulcrum_synchronous:", "fulcrum_sync:"))
    assert main(["inventory", str(path)]) == 2
    assert main(["inventory", str(tmp_path / "none")]) == 1
    assert "no such inventory; copy ansible/inventories/example" in capsys.readouterr().err
