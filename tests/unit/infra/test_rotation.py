"""A change of secrets: what servers accept and what clients have, step by step."""

import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from infra import vault
from infra.authority import Authority
from infra.credentials import Credentials
from infra.errors import ClusterError
from infra.hosts import Cluster, Facts, files, services
from infra.inventory_read import read_inventory
from infra.rotation import KEY_LIFE, LOGINS, ROTATED, UNTOUCHED, Rotation
from tests.unit.infra.example import EXAMPLE

FACTS = Facts(memory_mb=4096, cores=4)
SERVERS = {"pooler", "postgresql", "redis"}
"""What accepts a login. Patroni, a client, is in postgresql."""


@pytest.fixture(scope="module")
def before() -> Cluster:
    description = read_inventory(EXAMPLE).description
    return Cluster(description, Credentials.generate(), Authority.make("example"))


def promoted(cluster: Cluster) -> Cluster:
    secrets, rotation = cluster.rotation.promoted(asdict(cluster.credentials))
    return replace(cluster, credentials=Credentials(**secrets), rotation=rotation)


def steps(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster before a change of all secrets, at each step, and after it."""
    yield cluster
    prepared = replace(cluster, rotation=cluster.rotation.prepared(ROTATED))
    yield prepared
    used = promoted(prepared)
    yield used
    settled = replace(used, rotation=used.rotation.settled())
    yield settled
    yield replace(settled, rotation=settled.rotation.finished())


@pytest.fixture(scope="module")
def change(before: Cluster) -> list[Cluster]:
    return list(steps(before))


def accepted(cluster: Cluster, name: str) -> dict[str, str]:
    return cluster.rotation.users(cluster.credentials, name)


def used(cluster: Cluster, name: str) -> tuple[str, str]:
    return cluster.rotation.user(name), getattr(cluster.credentials, name)


def test_at_every_step_servers_accept_what_clients_have_beside_it(change: list[Cluster]) -> None:
    """While a step is put in place, clients have that one or the one before; so have servers."""
    for one, following in pairwise(change):
        for name in LOGINS:
            for server in (one, following):
                for client in (one, following):
                    assert used(client, name) in accepted(server, name).items(), name


def test_afterwards_only_the_new_one_opens(change: list[Cluster]) -> None:
    for name in LOGINS:
        first, last = change[0], change[-1]
        assert accepted(last, name) == dict([used(last, name)])
        assert used(first, name)[0] == last.rotation.locked(name)[0]
        assert used(first, name)[1] != used(last, name)[1]
        assert accepted(change[1], name).keys() == accepted(change[2], name).keys()


def test_the_next_change_takes_the_first_name_again(change: list[Cluster]) -> None:
    again = list(steps(change[-1]))[-1]
    for name, login in LOGINS.items():
        assert (used(change[-1], name)[0], used(again, name)[0]) == (f"{login}_b", login)


def rendered(cluster: Cluster) -> dict[tuple[str, str, str], str]:
    return {
        (service, host, file.path): file.content
        for host in cluster.description.hosts
        for service in services()
        if service in {"app", "exporters", "monitoring", *SERVERS}
        for file in _files(service, cluster, host)
    }


def _files(service: str, cluster: Cluster, host: str) -> list[Any]:
    d = cluster.description
    groups: dict[str, list[Any]] = {"pooler": d.poolers, "app": d.apps, "monitoring": d.monitors}
    if service in groups and not any(member.host == host for member in groups[service]):
        return []
    return files(service, cluster, host, FACTS)


def services_that_change(one: Cluster, following: Cluster) -> set[str]:
    was, now = rendered(one), rendered(following)
    assert was.keys() == now.keys()
    return {
        service
        for service, host, path in was
        if was[service, host, path] != now[service, host, path]
    }


def test_the_play_reaches_every_service_whose_files_a_step_changes(change: list[Cluster]) -> None:
    """rotate_secrets_step.yml leaves clients alone when the former secrets are forgotten."""
    prepared, promoted, settled, finished = (
        services_that_change(one, following) for one, following in pairwise(change)
    )
    assert prepared == {*SERVERS, "app"}
    assert promoted <= {*SERVERS, "app", "exporters", "monitoring"}
    assert settled == SERVERS
    assert finished == set()


def test_no_former_password_is_in_any_file_at_the_end(change: list[Cluster]) -> None:
    former = asdict(change[0].credentials)
    for path, content in rendered(change[-1]).items():
        for name in set(ROTATED) - {"secret_key"}:
            assert former[name] not in content, (path, name)


def test_what_signs_is_accepted_before_it_is_used_and_for_a_session_s_age_after(
    change: list[Cluster],
) -> None:
    first, prepared, promoted, settled, _ = change
    following = promoted.credentials.secret_key
    assert prepared.rotation.keys_besides() == {following: None}
    [(key, end)] = promoted.rotation.keys_besides().items()
    assert key == first.credentials.secret_key
    assert timedelta(0) <= datetime.fromisoformat(
        end + "T23:59:59+00:00"
    ) - KEY_LIFE - datetime.now(UTC)
    assert settled.rotation.keys_besides() == promoted.rotation.keys_besides()


def test_keys_whose_time_is_over_go_with_the_next_change() -> None:
    past = Rotation(former_keys={"old": "2020-01-01", "younger": "2999-01-01"})
    assert list(past.prepared(["app"]).former_keys) == ["younger"]


def roles(cluster: Cluster) -> str:
    return next(
        content for (_, _, path), content in rendered(cluster).items() if path.endswith("roles.sql")
    )


def test_poolers_and_postgresql_have_the_same_verifiers_at_every_step(
    change: list[Cluster],
) -> None:
    """PgBouncer logs in with the client's keys, which only the very same verifier accepts."""
    for cluster in change:
        [users] = {
            content
            for (service, _, path), content in rendered(cluster).items()
            if service == "pooler" and path.endswith("userlist.txt")
        }
        for login, verifier in re.findall(r'^"(fulcrum_app\w*)" "(.*)"$', users, re.M):
            assert f"ALTER ROLE {login} LOGIN" in roles(cluster)
            assert f"PASSWORD '{verifier}'" in roles(cluster)


def test_a_second_login_has_its_roles_rights_and_a_former_one_none(change: list[Cluster]) -> None:
    text = roles(change[-1])
    assert "GRANT fulcrum_app TO fulcrum_app_b;" in text
    assert "ALTER ROLE fulcrum_app LOGIN PASSWORD NULL" in text
    assert "ALTER ROLE fulcrum_owner_b SET role = 'fulcrum_owner';" in text
    assert "CREATE ROLE fulcrum_app_b" not in roles(change[0])


@pytest.mark.parametrize("name", [*UNTOUCHED, "nonsense"])
def test_what_is_not_changed_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(ClusterError, match=f"'{name}' cannot be changed here: "):
        Rotation().prepared([name])


def test_every_secret_is_changed_or_it_is_said_why_not() -> None:
    assert {*ROTATED, *UNTOUCHED} == set(asdict(Credentials.generate()))


@pytest.fixture
def vaulted(tmp_path: Path) -> dict[str, Any]:
    inventory, password = tmp_path / "mine", tmp_path / "password"
    inventory.mkdir()
    vault.complete(inventory, "test", password_file=password)
    return {"inventory": inventory, "cluster": "test", "password_file": password}


def opened(vaulted: dict[str, Any]) -> dict[str, Any]:
    return vault._open(vault.vault_file(vaulted["inventory"]), vaulted["password_file"])


def test_the_vault_goes_through_the_steps_and_a_step_is_made_once(vaulted: dict[str, Any]) -> None:
    first = opened(vaulted)
    for step in ("prepared", "promoted", "settled", "finished"):
        known, done = vault.rotate(step=step, names=["app"], authority=True, **vaulted)
        assert done
        kept = opened(vaulted)
        assert vault.rotation_of(kept["fulcrum_rotation"]) == known
        for earlier in ("prepared", "promoted", "settled")[: 3 if step == "settled" else 1]:
            if step != "finished":
                assert not vault.rotate(step=earlier, **vaulted)[1]
        assert opened(vaulted) == kept
    last = opened(vaulted)
    changed = {
        n for n, was in first["fulcrum_secrets"].items() if last["fulcrum_secrets"][n] != was
    }
    assert changed == {"app"}
    assert last["fulcrum_authority"]["certificate"] != first["fulcrum_authority"]["certificate"]
    assert last["fulcrum_authority"]["trusted"] == []
    assert vault.rotation_of(last["fulcrum_rotation"]) == Rotation(second=("app",))


def test_no_step_is_left_out(vaulted: dict[str, Any]) -> None:
    with pytest.raises(ClusterError, match="that is not begun cannot be promoted yet"):
        vault.rotate(step="promoted", **vaulted)


def test_a_key_that_is_known_to_somebody_is_forgotten_at_once(vaulted: dict[str, Any]) -> None:
    for step in ("prepared", "promoted", "settled", "finished"):
        vault.rotate(step=step, names=["secret_key"], **vaulted)
    del vaulted["cluster"]
    assert vault.forget_keys(**vaulted) == 1
    assert vault.rotation_of(opened(vaulted)["fulcrum_rotation"]) == Rotation()


def test_a_rotation_never_shows_its_secrets() -> None:
    prepared = Rotation().prepared(["app"])
    assert prepared.other["app"] not in repr(prepared)
    assert prepared.what == "app"
