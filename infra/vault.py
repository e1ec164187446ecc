"""An inventory's secrets: made once, in group_vars/all/vault.yml, which ansible-vault encrypts.

The file has `fulcrum_secrets`, the fields of infra.credentials.Credentials, `fulcrum_authority`,
those of infra.authority.Authority, and `fulcrum_rotation`, those of infra.rotation.Rotation.
"""

__all__ = [
    "authority_of",
    "complete",
    "credentials_of",
    "forget_keys",
    "rotate",
    "rotation_of",
    "vault_file",
]

import os
import secrets as randomness
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import yaml

from infra.ansible_tools import PASSWORD_FILE, ansible
from infra.authority import Authority
from infra.credentials import Credentials
from infra.errors import ClusterError
from infra.rotation import ROTATED, STEPS, Rotation

HEAD = "# Made by `python -m infra secrets`. Read it with `ansible-vault view`.\n"


def rotation_of(given: Mapping[str, Any] | None) -> Rotation:
    """From the variable `fulcrum_rotation`, which a vault lacks before the first change."""
    values = dict(given or {})
    return Rotation(**{**values, "second": tuple(values.get("second", ()))})


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


def vault_file(inventory: Path) -> Path:
    """Where the inventory at `inventory`, a folder or a file, has its secrets."""
    folder = inventory if inventory.is_dir() else inventory.parent
    return folder / "group_vars" / "all" / "vault.yml"


def complete(inventory: Path, cluster: str, password_file: Path = PASSWORD_FILE) -> list[str]:
    """Make what the vault lacks. Returns the names of what was made, never a value."""
    path = vault_file(inventory)
    _make_password(password_file, path)
    values = _open(path, password_file)
    given = values.get("fulcrum_secrets", {})
    made = [name for name in asdict(Credentials.generate()) if name not in given]
    secrets = {**asdict(Credentials.generate()), **given}
    if "fulcrum_authority" not in values:
        values["fulcrum_authority"] = _plain(Authority.make(cluster))
        made.append("authority")
    if made:
        _seal(path, {**values, "fulcrum_secrets": secrets}, password_file)
    return made


def rotate(
    inventory: Path,
    cluster: str,
    step: str,
    names: Collection[str] | None = None,
    *,
    authority: bool = False,
    password_file: Path = PASSWORD_FILE,
) -> tuple[Rotation, bool]:
    """See to it that a change of secrets (infra.rotation) has come to `step`; whether it had not.

    `prepared` begins one, of `names` (None: all that can be), where none is under way.
    """
    path = vault_file(inventory)
    values = _open(path, password_file)
    known = rotation_of(values.get("fulcrum_rotation"))
    if step == "finished":
        return _keep(path, values, known.finished(), password_file), bool(known.step)
    if STEPS.index(known.step) >= STEPS.index(step):
        return known, False
    if STEPS.index(known.step) != STEPS.index(step) - 1:
        now = known.step or "not begun"
        raise ClusterError(f"A change of secrets that is {now} cannot be {step} yet.")
    if step == "prepared":
        following = known.prepared(ROTATED if names is None else names, authority=authority)
    elif step == "promoted":
        values["fulcrum_secrets"], following = known.promoted(values["fulcrum_secrets"])
    else:
        following = known.settled()
    if following.authority:
        present = authority_of(values["fulcrum_authority"])
        values["fulcrum_authority"] = _plain(CHANGES[step](present, cluster))
    return _keep(path, values, following, password_file), True


CHANGES: dict[str, Callable[[Authority, str], Authority]] = {
    "prepared": Authority.prepared,
    "promoted": lambda authority, cluster: authority.promoted(),
    "settled": lambda authority, cluster: authority.settled(),
}


def forget_keys(inventory: Path, password_file: Path = PASSWORD_FILE) -> int:
    """Have nothing count that a former secret_key has signed. How many keys there were."""
    path = vault_file(inventory)
    values = _open(path, password_file)
    known = rotation_of(values.get("fulcrum_rotation"))
    _keep(path, values, replace(known, former_keys={}), password_file)
    return len(known.former_keys)


def _keep(path: Path, values: dict[str, Any], rotation: Rotation, password_file: Path) -> Rotation:
    _seal(path, {**values, "fulcrum_rotation": _plain(rotation)}, password_file)
    return rotation


def _plain(value: Authority | Rotation) -> dict[str, Any]:
    """As YAML writes it: lists for tuples."""
    items = asdict(value).items()
    return {name: list(part) if isinstance(part, tuple) else part for name, part in items}


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
