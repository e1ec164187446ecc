"""Whether everything is where the map says. `manage.py shards check`.

Every sharded table of every shard is read by its index of accounts, so that all rows are covered
at the cost of one probe an account.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from django.db import models

from routers.conf import settings
from routers.inspection.reading import Reader, ask_each
from routers.inspection.status import accounts_of
from routers.ownership.known import Known, disagreements, read_known
from routers.placement import Placement, placement_of, sharded_models
from routers.shard_map import ShardMap, refresh_map
from routers.shard_map.announce import known_versions, redis_errors
from routers.shard_map.file import load_map

__all__ = ["Problem", "find_problems"]

SECONDS = 600.0


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it should be. `kind` is for a program, `text` for a person.

    Kinds: away, number, misplaced, twice, version, dangling, foreign, owner.
    """

    kind: str
    where: str
    text: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass
class _Found:
    """What one shard was found to have."""

    number: int | None
    accounts: dict[str, set[int]]
    links: list[Problem] = field(default_factory=list)
    known: Known | None = None


def find_problems(*, links: bool = False, seconds: float = SECONDS) -> list[Problem]:
    """All problems, by shard. `links` also reads every reference between sharded rows.

    Raises CatalogAway: without the catalog there is no map to compare with.
    """
    snapshot = refresh_map()
    shards = sorted(settings().shards)
    answers = ask_each(shards, lambda opened: _look(opened, links), seconds)
    problems = [*_version_problems(snapshot)]
    homes: dict[int, set[str]] = defaultdict(set)
    is_told = any(isinstance(a, _Found) and a.known and a.known.slots for a in answers.values())
    for shard, answer in answers.items():
        if isinstance(answer, str):
            problems.append(Problem("away", shard, f"not checked: {answer}"))
            continue
        problems += [*_number_problems(shard, answer), *_misplaced(shard, answer, snapshot)]
        problems += answer.links
        if is_told:
            problems += _owner_problems(shard, answer, snapshot)
        for account in set().union(*answer.accounts.values()):
            homes[account].add(shard)
    return [*problems, *_twice(homes)]


def _look(opened: Reader, links: bool) -> _Found:
    number = opened.number("SELECT routers_shard_number()") if opened.is_postgresql else None
    found = _Found(number, accounts_of(opened), known=read_known(opened))
    if links:
        for model in sharded_models():
            found.links += _link_problems(opened, model)
    return found


def _number_problems(shard: str, found: _Found) -> Iterator[Problem]:
    wanted = settings().shards[shard]
    if found.number is not None and found.number != wanted:
        text = f"makes keys with the number {found.number}; SHARDING['SHARDS'] says {wanted}"
        yield Problem("number", shard, text)


def _misplaced(shard: str, found: _Found, snapshot: ShardMap) -> Iterator[Problem]:
    for table, accounts in sorted(found.accounts.items()):
        for account in sorted(accounts):
            home = snapshot.shard_of(account)
            if home != shard:
                text = f"{table} has rows of account {account}, whose shard is {home}"
                yield Problem("misplaced", shard, text)


def _owner_problems(shard: str, found: _Found, snapshot: ShardMap) -> Iterator[Problem]:
    """What the shard was told, against the map and its own rows."""
    if found.known is None:
        return
    for text in disagreements(shard, found.known, snapshot):
        yield Problem("owner", shard, text)
    for account in sorted(set().union(*found.accounts.values())):
        home = found.known.home(shard, account)
        if home not in (shard, None):
            text = f"has rows of account {account}, which it has given to {home}"
            yield Problem("owner", shard, text)


def _twice(homes: dict[int, set[str]]) -> Iterator[Problem]:
    for account, shards in sorted(homes.items()):
        if len(shards) > 1:
            named = ", ".join(sorted(shards))
            yield Problem("twice", named, f"account {account} has rows on {named}")


def _version_problems(snapshot: ShardMap) -> Iterator[Problem]:
    """The catalog's version against the copy on disk and every process that watches."""
    versions = {}
    saved = load_map()
    if saved is not None:
        versions["the copy on disk"] = saved.version
    try:
        versions |= known_versions()
    except redis_errors() as error:
        yield Problem("version", "Redis", f"what the processes hold is not known: {error}")
    for where, version in sorted(versions.items()):
        if version != snapshot.version:
            text = f"has version {version} of the map, the catalog {snapshot.version}"
            yield Problem("version", where, text)


def _link_problems(opened: Reader, model: type[models.Model]) -> Iterator[Problem]:
    """References from the model's rows to rows that are not there, or another account's."""
    for key in model._meta.concrete_fields:
        if not isinstance(key, models.ForeignKey):
            continue
        target = key.related_model
        if not isinstance(target, type) or placement_of(target) is not Placement.SHARDED:
            continue
        sql = f"""
            SELECT count(*) FILTER (WHERE there.id IS NULL),
                   count(*) FILTER (WHERE there.account_id <> here.account_id)
            FROM {model._meta.db_table} AS here
            LEFT JOIN {target._meta.db_table} AS there ON there.id = here.{key.column}
            WHERE here.{key.column} IS NOT NULL
        """  # noqa: S608 - names of our own models
        missing, foreign = (int(str(number)) for number in opened.rows(sql)[0])
        shard, what = opened.connection.alias, f"{model._meta.label}.{key.name}"
        if missing:
            yield Problem("dangling", shard, f"{missing} {what} lead nowhere")
        if foreign:
            yield Problem("foreign", shard, f"{foreign} {what} lead to another account's rows")
