"""An inventory's secrets: made once, in group_vars/all/vault.yml, which ansible-vault encrypts.

The file has `fulcrum_secrets`, the fields of infra.credentials.Credentials, and
`fulcrum_authority`, those of infra.authority.Authority.
"""

__all__ = ["authority_of", "complete", "credentials_of", "step", "vault_file"]

import os
import secrets as randomness
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml

from infra.ansible_tools import PASSWORD_FILE, ansible
from infra.authority import Authority
from infra.credentials import Credentials
from infra.errors import ClusterError

HEAD = "# Made by `python -m infra secrets`. Read it with `ansible-vault view`.\n"
Change = Callable[[Authority], Authority]


def credentials_of(given: Mapping[str, Any] | None) -> Credentials:
    """From the variable `fulcrum_secrets`."""
    wanted = {field.name for field in fields(Credentials)}
    if missing := sorted(wanted - set(given or {})):
        raise ClusterError(f"fulcrum_secrets: {', '.join(missing)} missing; {CURE}")
    return Credentials(**{name: str(value) for name, value in (given or {}).items()})


def authority_of(given: Mapping[str, Any] | None) -> Authority:
    """From the variable `fulcrum_authority`."""
    if not given:
        raise ClusterError(f"fulcrum_authority: missing; {CURE}")
    return Authority(**{**given, "trusted": tuple(given.get("trusted", ()))})


CURE = "run `python -m infra secrets INVENTORY`"


def step(name: str, cluster: str) -> Change:
    """One of the three steps of a change of authority."""
    if name == "prepare":
        return lambda authority: authority.prepared(cluster)
    return Authority.promoted if name == "promote" else Authority.settled


def vault_file(inventory: Path) -> Path:
    """Where the inventory at `inventory`, a folder or a file, has its secrets."""
    folder = inventory if inventory.is_dir() else inventory.parent
    return folder / "group_vars" / "all" / "vault.yml"


def complete(
    inventory: Path,
    cluster: str,
    anew: Iterable[str] = (),
    change: Change | None = None,
    password_file: Path = PASSWORD_FILE,
) -> list[str]:
    """Make what the vault lacks, and the credentials named in `anew`; `change` the authority.

    Returns the names of what was made, never a value. The file is replaced in one step.
    """
    path = vault_file(inventory)
    _make_password(password_file, path)
    before = _open(path, password_file)
    given, made = before.get("fulcrum_secrets", {}), []
    credentials = asdict(Credentials.generate())
    wrong = sorted(set(anew) - set(credentials))
    if wrong:
        known = ", ".join(sorted(credentials))
        raise ClusterError(f"No credential '{wrong[0]}'. There are: {known}.")
    made = [name for name in credentials if name not in given or name in anew]
    authority = before.get("fulcrum_authority") or asdict(Authority.make(cluster))
    if "fulcrum_authority" not in before:
        made.append("authority")
    if change:
        authority = asdict(change(authority_of(authority)))
        made.append("authority")
    if made:
        merged = {**given, **{name: credentials[name] for name in made if name in credentials}}
        authority = {**authority, "trusted": list(authority["trusted"])}
        _seal(path, {"fulcrum_authority": authority, "fulcrum_secrets": merged}, password_file)
    return made


def _make_password(file: Path, vault: Path) -> None:
    """The vault's password, made with the first vault."""
    if file.exists():
        return
    if vault.exists():
        raise ClusterError(f"{vault} is there and {file} is not: put the vault's password there.")
    _write_privately(file, randomness.token_urlsafe(32) + "\n")


def _open(path: Path, password_file: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    text = ansible("ansible-vault", "view", str(path), password_file=password_file)
    opened: dict[str, Any] = yaml.safe_load(text) or {}
    return opened


def _seal(path: Path, values: dict[str, Any], password_file: Path) -> None:
    text = HEAD + yaml.safe_dump(values, sort_keys=True)
    to_stdout = ["--output", "-", "-"]
    sealed = ansible(
        "ansible-vault", "encrypt", *to_stdout, stdin=text, password_file=password_file
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_privately(path, sealed)


def _write_privately(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
