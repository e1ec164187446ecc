"""Passwords are made once, for their owner's eyes."""

import base64
import hmac
import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest

from infra.credentials import LATER, Credentials, load, load_or_create, scram_verifier
from infra.errors import ClusterError


def test_they_are_made_once_and_nobody_else_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    made = load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.stat().st_mtime_ns
    assert load_or_create(path) == made == load(path)
    assert path.stat().st_mtime_ns == before


def test_a_killed_write_leaves_nothing_that_counts(tmp_path: Path) -> None:
    (tmp_path / "secrets.new").write_text("{ half")
    load_or_create(tmp_path / "secrets.json")
    assert [path.name for path in tmp_path.iterdir()] == ["secrets.json"]


def test_a_damaged_file_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    path.write_text("{}")
    with pytest.raises(ClusterError, match=r"is damaged .* Restore it"):
        load_or_create(path)
    assert path.read_text() == "{}"


@pytest.mark.parametrize("lacks", [LATER[:1], LATER[1:], LATER])
def test_a_file_of_an_older_version_gets_what_it_lacks_and_keeps_the_rest(
    tmp_path: Path, lacks: tuple[str, ...]
) -> None:
    path = tmp_path / "secrets.json"
    known = {k: v for k, v in asdict(load_or_create(path)).items() if k not in lacks}
    path.write_text(json.dumps(known))
    assert {getattr(load(path), name) for name in lacks} == {""}
    made = asdict(load_or_create(path))
    assert all(len(made[name]) > 30 for name in lacks)
    assert made == {**known, **{name: made[name] for name in lacks}}
    assert asdict(load_or_create(path)) == made == asdict(load(path))


def test_a_file_that_lacks_any_other_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    known = asdict(load_or_create(path))
    del known["superuser"]
    path.write_text(json.dumps(known))
    with pytest.raises(ClusterError, match=r"is damaged .*superuser"):
        load_or_create(path)


def test_they_need_no_quoting_and_are_not_shown() -> None:
    made = Credentials.generate()
    assert all(re.fullmatch(r"[\w-]+", password) for password in asdict(made).values())
    assert made.superuser not in repr(made)
    assert made != Credentials.generate()


def test_the_verifier_answers_the_exchange_printed_in_rfc_7677() -> None:
    verifier = scram_verifier("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
    server_key = base64.b64decode(verifier.rpartition(":")[2])
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    first = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    signature = hmac.digest(server_key, f"{first},c=biws,r={nonce}".encode(), "sha256")
    assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    assert verifier.startswith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")


def test_each_password_has_a_verifier_of_its_own_that_stays() -> None:
    made = Credentials.generate()
    assert made.verifier("app") == made.verifier("app") != made.verifier("owner")
