"""Passwords: made once, kept in one file of mode 0600, never in an argument or a log."""

__all__ = ["Credentials", "load_or_create", "scram_verifier"]

import base64
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from infra.errors import ClusterError

SCRAM_ITERATIONS = 4096
LATER = (
    *("replication", "pooler_admin", "probe_token", "mover", "rewind", "patroni"),
    *("redis_admin", "redis_monitor"),
)
"""Files of older versions lack these."""


@dataclass(frozen=True, repr=False)
class Credentials:
    """One password a field. `salt` keeps the SCRAM verifiers the same from run to run.

    `app` is fulcrum_app's password at PostgreSQL, which only the poolers know; `pooler_app` is
    the one with which the application logs in at a pooler. `probe_token` opens the site's /metrics
    and the details of its /readyz to a probe from anywhere. On real hosts `mover` is who moves
    accounts between shards, `rewind` who makes an old primary follow, and `patroni` opens what
    changes something in Patroni's REST interface; `cache` and `broker` are the application's at
    each Redis, `redis_admin` who changes its settings, `redis_monitor` who looks at its figures.
    """

    superuser: str
    owner: str
    app: str
    monitor: str
    replication: str
    pooler_app: str
    pooler_monitor: str
    pooler_admin: str
    cache: str
    broker: str
    salt: str
    secret_key: str
    demo_password: str
    probe_token: str
    mover: str
    rewind: str
    patroni: str
    redis_admin: str
    redis_monitor: str

    @classmethod
    def generate(cls) -> "Credentials":
        """New ones, of characters that need no quoting in any configuration file."""
        made = {f.name: secrets.token_urlsafe(32) for f in fields(cls)}
        return cls(**made | {"demo_password": secrets.token_hex(5)})

    def verifier(self, name: str, password: str = "") -> str:
        """The SCRAM verifier of the password in the field `name`, or of another one for it."""
        salt = hashlib.sha256(f"{self.salt}/{name}".encode()).digest()[:16]
        return scram_verifier(password or getattr(self, name), salt)


def scram_verifier(password: str, salt: bytes) -> str:
    """What PostgreSQL and PgBouncer store in place of an ASCII `password` (RFC 5802)."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, SCRAM_ITERATIONS)
    client = hmac.digest(salted, b"Client Key", "sha256")
    stored = base64.b64encode(hashlib.sha256(client).digest()).decode()
    server = base64.b64encode(hmac.digest(salted, b"Server Key", "sha256")).decode()
    return f"SCRAM-SHA-256${SCRAM_ITERATIONS}:{base64.b64encode(salt).decode()}${stored}:{server}"


def load(path: Path) -> Credentials:
    """Read the file that load_or_create wrote; what one of an older version lacks is ""."""
    try:
        return Credentials(**dict.fromkeys(LATER, "") | json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ClusterError(
            f"{path} is damaged ({error}). Restore it; without it the data cannot be opened."
        ) from None


def load_or_create(path: Path) -> Credentials:
    """The credentials at `path`; what is missing is made, and written in one step."""
    made = Credentials.generate()
    if path.exists():
        found = load(path)
        missing = [name for name in LATER if not getattr(found, name)]
        if not missing:
            return found
        made = replace(found, **{name: getattr(made, name) for name in missing})
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(made), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return made
