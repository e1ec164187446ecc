"""The fragments of a page are looked up together, and what was made of them is kept together.

One round trip for the fragments of an account; those that read tables of the catalog besides need
one more for the tokens of these, which are then part of the key.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from time import perf_counter

from django.db import Error

from caching import service
from caching.codec import NotPlain, dump, load
from caching.counts import count
from caching.fragment_store import LASTING, Looked, Made, established, keep_many, look_many
from caching.fragments import Piece
from caching.moments import known_before_reading, spoilt
from caching.places import SHARED, Place, has_cached_accounts, of_account, of_tables
from caching.remember import schema
from caching.transactions import transaction_of
from caching.wire import RedisAway
from routers.conf import CATALOG
from routers.context import current_scope

__all__ = ["Kept", "keep", "look_up"]

SAFE = ("GET", "HEAD")


@dataclass(slots=True)
class Kept:
    """Where a fragment that is being made is to be kept."""

    place: Place
    key: str
    name: str
    stamp: bytes
    label: str
    seconds: int

    def made(self, html: str) -> Made:
        return Made(self.key, self.stamp, dump(html.encode(), self.name), self.seconds)


def look_up(pieces: Iterable[Piece]) -> dict[Piece, Kept]:
    """Gives the pieces that are found their HTML; where to keep those that are not, if anywhere."""
    groups: dict[tuple[Place, frozenset[str]], list[Piece]] = {}
    for piece in pieces:
        if (place := _place_of(piece)) is not None:
            tables = piece.terms.tables if place.is_account else frozenset()
            groups.setdefault((place, tables), []).append(piece)
    found: dict[Piece, Kept] = {}
    for (place, tables), group in groups.items():
        try:
            found |= _look_up(place, tables, group)
        except (RedisAway, Error):
            _count_all(group, "away")
    return found


def keep(kept: dict[Piece, Kept], htmls: dict[Piece, str]) -> None:
    """All of a page, in one round trip for each place; none of work that is spoilt by now."""
    if spoilt():
        _count_all(kept, "busy")
        return
    for place in {one.place for one in kept.values()}:
        made = []
        for piece, one in kept.items():
            if one.place == place:
                one.seconds = piece.seconds
                made.append((one.label, one.made(htmls[piece])))
        try:
            keep_many([entry for _, entry in made])
        except RedisAway:
            for label, _ in made:
                count(label, "away")
        else:
            for label, entry in made:
                count(label, "miss", len(entry.payload))


def _place_of(piece: Piece) -> Place | None:
    """What makes it invalid; None where nobody would be told."""
    scope, terms = current_scope(), piece.terms
    if scope is not None:
        known = scope.account_id is not None and (has_cached_accounts() or terms.lasting)
        return of_account(scope) if known else None
    return of_tables(terms.tables) if terms.tables else Place(CATALOG, SHARED, ())


def _look_up(place: Place, tables: frozenset[str], group: list[Piece]) -> dict[Piece, Kept]:
    began = perf_counter()
    transaction = transaction_of(place.alias)
    if transaction.bypasses:
        return {}
    identity = service.current(place.alias, renew=not transaction.is_open)
    beside = _tokens(tables)
    if not identity or beside is None:
        _count_all(group, "busy" if identity else "off")
        return {}
    about = identity, place.alias, schema(), beside[0]
    digests = [piece.digest(*about) for piece in group]
    looked = look_many(place, digests)
    was_known = known_before_reading(place.slot, place.names, identity, looked.stamp)
    missing = _found(place, group, digests, looked, began)
    if not missing or transaction.is_open:
        return {}
    stamp = None
    if not all(group[at].terms.lasting for at in missing):
        stamp = established(place, looked)
        was_known = known_before_reading(place.slot, place.names, identity, stamp)
    kept = {}
    for at in missing:
        piece = group[at]
        lasting = piece.terms.lasting
        good = stamp and was_known and beside[1]
        if _may_keep(piece) and (lasting or good):
            name = place.slot + digests[at]
            held = LASTING if lasting else stamp or b""
            kept[piece] = Kept(place, looked.keys[at], name, held, piece.terms.label, piece.seconds)
        else:
            count(piece.terms.label, "busy")
    return kept


def _found(
    place: Place, group: list[Piece], digests: list[str], looked: Looked, began: float
) -> list[int]:
    """Which were not; gives the others their HTML."""
    missing, hits = [], []
    for at, piece in enumerate(group):
        payload = looked.payload(at, lasting=piece.terms.lasting)
        if payload is None:
            missing.append(at)
            continue
        try:
            piece.html = load(payload, place.slot + digests[at]).decode()
        except NotPlain:
            missing.append(at)
        else:
            hits.append((piece.terms.label, len(payload)))
    seconds = (perf_counter() - began) / len(group)
    for label, size in hits:
        count(label, "hit", size, seconds)
    return missing


def _tokens(tables: frozenset[str]) -> tuple[bytes, bool] | None:
    """Those of the catalog's tables and whether they were known before; None: not usable now."""
    if not tables:
        return b"", True
    place = of_tables(tables)
    transaction = transaction_of(place.alias)
    if transaction.bypasses:
        return None
    identity = service.current(place.alias, renew=not transaction.is_open)
    looked = look_many(place, [])
    stamp = None if transaction.is_open or not identity else established(place, looked)
    if stamp is None:
        return None
    return stamp + identity.encode(), known_before_reading(place.slot, place.names, identity, stamp)


def _may_keep(piece: Piece) -> bool:
    """Not what a form has changed in memory and not saved, or what was rolled back."""
    method = getattr(piece.request, "method", None)
    return method is None or method in SAFE


def _count_all(pieces: Iterable[Piece], outcome: str) -> None:
    for piece in pieces:
        count(piece.terms.label, outcome)
