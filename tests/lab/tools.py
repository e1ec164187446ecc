"""What the lab runs on this machine, as root."""

import subprocess

__all__ = ["LabError", "run", "succeeds"]


class LabError(Exception):
    """The lab cannot go on; the message says what to do."""


def run(*command: str, seconds: float = 600) -> str:
    """Run a command to its end; returns what it printed. Raises LabError with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise LabError(f"`{' '.join(command)}` failed ({done.returncode}): {said}")
    return done.stdout


def succeeds(*command: str) -> bool:
    """Whether the command ends with status 0."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
