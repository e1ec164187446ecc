"""A change of secrets while everything runs: three steps, as a change of the authority's.

At no moment does a server refuse what a client still has, for every login has two names, NAME and
NAME_b, of which one is in use. `prepared`: the other one opens too, with a new password;
`promoted`: clients use it; `settled`: the former one opens nothing any more. `finished` ends it.
Each step is written into the vault before any host sees it, and every file is made from the vault,
so whoever is interrupted goes on with the same step.
"""

__all__ = ["LOGINS", "ROTATED", "SECOND", "STEPS", "UNTOUCHED", "Rotation"]

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from infra.credentials import Credentials
from infra.errors import ClusterError

SECOND = "_b"
LOGINS = {
    "app": "fulcrum_app",
    "monitor": "fulcrum_monitor",
    "mover": "fulcrum_mover",
    "owner": "fulcrum_owner",
    "replication": "fulcrum_replication",
    "rewind": "fulcrum_rewind",
    "pooler_monitor": "fulcrum_monitor",
    "cache": "fulcrum_app",
    "broker": "fulcrum_app",
    "redis_admin": "fulcrum_admin",
    "redis_monitor": "fulcrum_monitor",
}
"""Field of Credentials → the first name of its login, at PostgreSQL, PgBouncer or Redis."""

ALONE = ("patroni", "pooler_admin", "pooler_app", "probe_token", "secret_key", "superuser")
"""Without a login. Those of the pooler and the superuser open nothing on real hosts; what signs
(secret_key) is accepted for a while after; of the other two, RUNBOOKS.md says who may notice."""

ROTATED = tuple(sorted((*LOGINS, *ALONE)))
UNTOUCHED = {
    "salt": "PostgreSQL tells what is made of it to whoever wants to log in: it is no secret",
    "demo_password": "it is somebody's password in the site, and changed there",
}

KEY_LIFE = timedelta(days=14)
"""What the former secret_key has signed is good so long: a session's age (SESSION_COOKIE_AGE)."""

STEPS = ("", "prepared", "promoted", "settled")
"""In their order. The first is again the last: no change is under way."""


@dataclass(frozen=True, repr=False)
class Rotation:
    """How far a change is, and what servers accept besides fulcrum_secrets.

    `other`: field → the next value while `prepared`, the former one while `promoted`. `second`:
    fields whose login in use is NAME_b. `former_keys`: former secret_key → the day of its end.
    `authority`: whether the certificate authority changes along.
    """

    step: str = ""
    other: Mapping[str, str] = field(default_factory=dict)
    second: tuple[str, ...] = ()
    former_keys: Mapping[str, str] = field(default_factory=dict)
    authority: bool = False

    @property
    def what(self) -> str:
        """The names of what changes, for people; a settled change has none any more."""
        return ", ".join([*sorted(self.other), *(["authority"] if self.authority else [])])

    def user(self, name: str) -> str:
        """The login that clients use for the secret `name`."""
        return LOGINS[name] + (SECOND if name in self.second else "")

    def users(self, credentials: Credentials, name: str) -> dict[str, str]:
        """Every login that opens with the secret `name` now → its password."""
        used, other = self.user(name), self._other_user(name)
        accepted = {used: getattr(credentials, name)}
        return {**accepted, **({other: self.other[name]} if name in self.other else {})}

    def locked(self, name: str) -> list[str]:
        """The login of the secret `name` that opens nothing now."""
        return [] if name in self.other else [self._other_user(name)]

    def keys_besides(self) -> dict[str, str | None]:
        """Keys whose signatures count too → the last day, where there is one."""
        following = self.other.get("secret_key")
        return {**({following: None} if following else {}), **self.former_keys}

    def _other_user(self, name: str) -> str:
        return LOGINS[name] + ("" if name in self.second else SECOND)

    def prepared(self, names: Iterable[str], *, authority: bool = False) -> "Rotation":
        """With new values of `names` accepted besides."""
        if self.step:
            raise ClusterError(f"A change of secrets is under way ({self.step}): finish it first.")
        made = Credentials.generate()
        wrong = sorted(set(names) - set(ROTATED))
        if wrong:
            why = UNTOUCHED.get(wrong[0], f"there are: {', '.join(ROTATED)}")
            raise ClusterError(f"'{wrong[0]}' cannot be changed here: {why}.")
        other = {name: getattr(made, name) for name in sorted(names)}
        keys = {key: end for key, end in self.former_keys.items() if end >= _today()}
        step = "prepared"
        return replace(self, step=step, other=other, former_keys=keys, authority=authority)

    def promoted(self, secrets: Mapping[str, str]) -> tuple[dict[str, str], "Rotation"]:
        """The secrets in use with the new values, and the former ones accepted besides."""
        former = {name: secrets[name] for name in self.other}
        keys = dict(self.former_keys)
        if key := former.pop("secret_key", None):
            keys[key] = (datetime.now(UTC) + KEY_LIFE).date().isoformat()
        second = set(self.second) ^ (set(self.other) & set(LOGINS))
        following = replace(
            self, step="promoted", other=former, second=tuple(sorted(second)), former_keys=keys
        )
        return {**secrets, **self.other}, following

    def settled(self) -> "Rotation":
        """With nothing accepted besides but former keys."""
        return replace(self, step="settled", other={})

    def finished(self) -> "Rotation":
        """With no change under way."""
        return replace(self, step="", authority=False)


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
