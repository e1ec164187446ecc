"""The cluster's own authority, proved with openssl; and the vault that keeps it."""

import subprocess
from dataclasses import asdict, fields, replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from infra import authority as module
from infra import vault
from infra.ansible_tools import ansible
from infra.authority import Authority, names_of
from infra.credentials import Credentials
from infra.errors import ClusterError
from infra.inventory_read import read_inventory
from tests.unit.infra.example import EXAMPLE

NAMES = ["10.0.0.1", "db1", "shard01"]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make("test")


@pytest.fixture
def csr(tmp_path: Path) -> str:
    return request(tmp_path / "host.key", "/CN=a-name-that-counts-for-nothing")


def request(key: Path, subject: str) -> str:
    """A request as a host makes it."""
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(key)]
    return openssl("req", "-new", *new, "-subj", subject)


def openssl(*arguments: str, stdin: str = "") -> str:
    done = subprocess.run(
        ["openssl", *arguments], input=stdin, capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout


def verifies(folder: Path, bundle: str, certificate: str, *more: str) -> bool:
    """Whether whoever trusts `bundle` takes `certificate`."""
    (folder / "ca.crt").write_text(bundle)
    (folder / "host.crt").write_text(certificate)
    command = ["openssl", "verify", "-x509_strict", "-CAfile", str(folder / "ca.crt"), *more]
    done = subprocess.run([*command, str(folder / "host.crt")], capture_output=True, check=False)
    return done.returncode == 0


def test_a_signed_certificate_has_our_names_and_not_the_requests(
    tmp_path: Path, authority: Authority, csr: str
) -> None:
    signed = authority.sign(csr, "db1", NAMES)
    for purpose in ("sslserver", "sslclient"):
        assert verifies(tmp_path, authority.bundle, signed, "-purpose", purpose)
    assert verifies(tmp_path, authority.bundle, signed, "-verify_hostname", "shard01")
    assert verifies(tmp_path, authority.bundle, signed, "-verify_ip", "10.0.0.1")
    assert not verifies(tmp_path, authority.bundle, signed, "-verify_hostname", "shard02")
    assert not verifies(tmp_path, Authority.make("other").bundle, signed)
    assert "counts-for-nothing" not in openssl("x509", "-noout", "-text", stdin=signed)


def test_a_certificate_is_kept_while_it_is_right(
    tmp_path: Path, authority: Authority, csr: str
) -> None:
    signed = authority.renewed(csr, "", "db1", NAMES)
    assert authority.renewed(csr, signed, "db1", NAMES[::-1]) == signed
    assert authority.renewed(csr, signed, "db1", [*NAMES, "shard02"]) != signed
    assert authority.renewed(csr, "damaged", "db1", NAMES) != "damaged"
    assert Authority.make("test").renewed(csr, signed, "db1", NAMES) != signed
    other = request(tmp_path / "other.key", "/CN=db1")
    assert authority.renewed(other, signed, "db1", NAMES) != signed


@pytest.mark.parametrize(("days", "kept"), [(29, False), (31, True)])
def test_a_certificate_near_its_end_is_made_anew(
    authority: Authority, csr: str, monkeypatch: pytest.MonkeyPatch, days: int, kept: bool
) -> None:
    monkeypatch.setattr(module, "HOST_LIFE", timedelta(days=days))
    signed = authority.sign(csr, "db1", NAMES)
    assert (authority.renewed(csr, signed, "db1", NAMES) == signed) is kept


def test_a_change_of_authority_leaves_no_moment_of_distrust(
    tmp_path: Path, authority: Authority, csr: str
) -> None:
    """At each step a host that has it and one that has not yet trust each other."""
    steps = [authority, authority.prepared("test")]
    steps += [steps[1].promoted()]
    steps += [steps[2].settled()]
    certificates = [""]
    for step in steps:
        certificates.append(step.renewed(csr, certificates[-1], "db1", NAMES))
    for before, after in zip(range(4), range(1, 4), strict=False):
        assert verifies(tmp_path, steps[before].bundle, certificates[after + 1])
        assert verifies(tmp_path, steps[after].bundle, certificates[before + 1])
    assert certificates[2] == certificates[1] != certificates[3] == certificates[4]
    assert not verifies(tmp_path, steps[3].bundle, certificates[1])


def test_the_steps_of_a_change_have_their_order(authority: Authority) -> None:
    with pytest.raises(ClusterError, match="begin with `prepare`"):
        authority.promoted()
    with pytest.raises(ClusterError, match="under way: go on with `promote`"):
        authority.prepared("test").prepared("test")
    with pytest.raises(ClusterError, match="`promote` first"):
        authority.prepared("test").settled()


def test_what_a_host_answers_to() -> None:
    d = read_inventory(EXAMPLE).description
    assert names_of(d, "db5") == ["127.0.0.1", "192.0.2.15", "db5", "localhost", "shard01"]
    assert "catalog" in names_of(d, "db1")
    assert "fulcrum.example.org" in names_of(d, "front1")
    assert "fulcrum.example.org" not in names_of(d, "app1")


def test_secrets_are_made_once_and_never_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    password, inventory = tmp_path / "password", tmp_path / "mine"
    inventory.mkdir()
    made = vault.complete(inventory, "test", password_file=password)
    path = vault.vault_file(inventory)
    assert {*made} == {field.name for field in fields(Credentials)} | {"authority"}
    assert path.read_text().startswith("$ANSIBLE_VAULT;")
    assert [file.stat().st_mode & 0o777 for file in (path, password)] == [0o600, 0o600]
    before = opened(path, password)
    assert vault.complete(inventory, "test", password_file=password) == []
    assert opened(path, password) == before
    shown = capsys.readouterr()
    assert not [s for s in before["fulcrum_secrets"].values() if s in shown.out + shown.err]


def opened(path: Path, password: Path) -> dict[str, dict[str, str]]:
    text = ansible("ansible-vault", "view", str(path), password_file=password)
    return yaml.safe_load(text)


def test_a_vault_without_its_password_is_never_replaced(tmp_path: Path) -> None:
    password, inventory = tmp_path / "password", tmp_path / "mine"
    inventory.mkdir()
    vault.complete(inventory, "test", password_file=password)
    text = vault.vault_file(inventory).read_text()
    password.unlink()
    with pytest.raises(ClusterError, match=r"put the vault's password there"):
        vault.complete(inventory, "test", password_file=password)
    password.write_text("another\n")
    with pytest.raises(ClusterError, match="ansible-vault: "):
        vault.complete(inventory, "test", password_file=password)
    assert vault.vault_file(inventory).read_text() == text


def test_what_a_vault_lacks_is_named_with_the_command() -> None:
    given = asdict(Credentials.generate())
    assert vault.credentials_of(given).cache == given["cache"]
    del given["mover"]
    with pytest.raises(ClusterError, match=r"fulcrum_secrets: mover missing; run `python -m infra"):
        vault.credentials_of(given)
    with pytest.raises(ClusterError, match="fulcrum_authority: missing; run"):
        vault.authority_of(None)


def test_neither_shows_its_secrets(authority: Authority) -> None:
    assert authority.key not in repr(replace(authority))
