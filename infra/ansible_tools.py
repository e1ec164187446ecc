"""Runs Ansible's own commands, those beside this Python, with this project's settings."""

__all__ = ["ANSIBLE", "PASSWORD_FILE", "ansible"]

import os
import shutil
import subprocess
import sys
from pathlib import Path

from infra.errors import ClusterError
from infra.layout import CHECKOUT

ANSIBLE = CHECKOUT / "ansible"
PASSWORD_FILE = ANSIBLE / ".vault-password"
"""What opens every inventory's vault. Untracked; keep a copy where the team keeps its secrets."""
SECONDS = 120


def ansible(
    command: str, *arguments: str, stdin: str | None = None, password_file: Path | None = None
) -> str:
    """What `command` prints. Raises ClusterError with what it said. No secret in `arguments`.

    Vaults are opened as ansible.cfg says, or with `password_file`.
    """
    beside = Path(sys.executable).parent / command
    program = str(beside) if beside.exists() else shutil.which(command)
    if not program:
        raise ClusterError(f"{command} is not installed: `make .venv/.dev`, then use .venv/bin.")
    settings = {"ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    if password_file:
        settings["ANSIBLE_VAULT_PASSWORD_FILE"] = str(password_file)
    done = subprocess.run(  # noqa: S603 - our own arguments
        [program, *arguments],
        input=stdin,
        stdin=None if stdin is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={**os.environ, **settings},
    )
    if done.returncode:
        raise ClusterError(f"{command}: {(done.stderr + done.stdout).strip()[-2000:]}")
    return done.stdout
