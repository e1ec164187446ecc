"""The protocol of `caching` as a small model whose interleavings are all walked through.

One account with a row for each writer, which is 0 and becomes 1. A writer may be killed anywhere,
any message to Redis may be lost (with or without having been carried out), Redis may be emptied or
replaced by an older copy of itself. Two readers read for ever. `Rules` takes single steps out.

A value that is read is a tuple of the rows. `floor` is what a read that begins now must see: rows
of writers that were told of their commit, and of marked ones as soon as they have committed.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

__all__ = ["Bounds", "Rules", "Stale", "explore"]


@dataclass(frozen=True)
class Rules:
    """Each step of the protocol. A test sets one to False."""

    writes_have_a_transaction: bool = True
    mark_before_commit: bool = True
    everyone_pending_is_listed: bool = True
    settle_makes_a_new_token: bool = True
    no_fill_while_pending: bool = True
    token_read_before_sql: bool = True
    missing_token_is_quarantined: bool = True
    quarantine_before_snapshot: bool = True
    quarantine_outlives_marks: bool = True
    recovery_is_quarantined: bool = True
    unknown_outcome_stays_pending: bool = True
    unmarked_turns_off: bool = True
    unmarked_waits_for_leases: bool = True
    turning_on_waits_for_unmarked: bool = True
    turning_on_changes_the_epoch: bool = True
    keys_name_the_run: bool = True
    commit_waits_for_local_leases: bool = True

    @classmethod
    def names(cls) -> list[str]:
        return [field.name for field in fields(cls)]


@dataclass(frozen=True)
class Bounds:
    """How many writers and faults there are."""

    writers: int = 2
    readers: int = 2
    kills: int = 1
    losses: int = 0  # of messages to Redis
    flushes: int = 0
    failovers: int = 0  # to an older copy
    local: bool = False  # readers keep entries themselves, while they have a lease on a token


class Stale(AssertionError):
    """A read returned an older value than it had to."""


class Token(NamedTuple):
    pending: frozenset[int]
    base: Any  # ("token", n) or ("quarantine", n, writers in flight when it was dated, or None)


class Redis(NamedTuple):
    token: Token | None = None
    entries: frozenset[tuple[Any, Any]] = frozenset()  # of (key, (stamp, value))

    def with_entry(self, key: Any, entry: Any) -> "Redis":
        kept = {(k, e) for k, e in self.entries if k != key}
        return self._replace(entries=frozenset(kept | {(key, entry)}))


class Writer(NamedTuple):
    at: str = "idle"
    alive: bool = True
    marked: bool = False
    turned_off: bool = False
    waits: frozenset[int] = frozenset()  # readers whose lease is older than its commit
    local_waits: frozenset[int] = frozenset()  # readers whose lease on a token is older than a mark


class Reader(NamedTuple):
    at: str = "idle"
    lease: Any = None  # None, "off", or an epoch
    floor: tuple[int, ...] = ()
    key: Any = None
    seen: Any = None  # what it knows of the token
    value: Any = None
    leased: Any = None  # the token's base, known to be valid for a while
    kept: Any = None  # (base, epoch, value) in its own memory


class State(NamedTuple):
    rows: tuple[int, ...]
    floor: tuple[int, ...]
    writers: tuple[Writer, ...]
    readers: tuple[Reader, ...]
    redis: Redis = Redis()
    old: Redis | None = None  # a copy of Redis that lags behind
    run: int = 0
    fresh: int = 0  # the next number for a token
    off: bool = False
    epoch: int = 0
    exclusive: int | None = None  # who holds the state's row
    shared: frozenset[int] = frozenset()
    kills: int = 0
    losses: int = 0
    flushes: int = 0
    failovers: int = 0

    def writer(self, i: int, **changes: Any) -> "State":
        changed = self.writers[i]._replace(**changes)
        return self._replace(writers=(*self.writers[:i], changed, *self.writers[i + 1 :]))

    def reader(self, i: int, **changes: Any) -> "State":
        changed = self.readers[i]._replace(**changes)
        return self._replace(readers=(*self.readers[:i], changed, *self.readers[i + 1 :]))

    def in_flight(self) -> frozenset[int]:
        """Writers whose transaction has written and has not ended."""
        open_at = ("mark", "unmarked", "local", "commit")
        return frozenset(i for i, one in enumerate(self.writers) if one.at in open_at)


def explore(rules: Rules, bounds: Bounds) -> int:
    """Walk through every interleaving; the number of states. Raises Stale."""
    model = Model(rules, bounds.losses > 0, bounds.local)
    none = (0,) * bounds.writers
    first = State(
        rows=none,
        floor=none,
        writers=(Writer(),) * bounds.writers,
        readers=(Reader(),) * bounds.readers,
        kills=bounds.kills,
        losses=bounds.losses,
        flushes=bounds.flushes,
        failovers=bounds.failovers,
    )
    seen, queue = {first}, deque([first])
    while queue:
        for step in model.steps(queue.popleft()):
            following = canonical(step)
            if following not in seen:
                seen.add(following)
                queue.append(following)
    return len(seen)


def canonical(s: State) -> State:
    """The same state with the tokens numbered anew, and without entries that are dead for ever."""
    numbers: dict[int, int] = {}

    def base(seen: Any) -> Any:
        return (seen[0], numbers.setdefault(seen[1], len(numbers)), *seen[2:])

    def token(seen: Any) -> Any:
        return seen._replace(base=base(seen.base)) if isinstance(seen, Token) else base(seen)

    def redis(held: Redis | None, living: set[Any]) -> Redis | None:
        if held is None or held.token is None:
            return held and Redis()
        run, now = held.token
        kept = {(k, (base(e[0]), e[1])) for k, e in held.entries if e[0] in living}
        return Redis((run, token(now)), frozenset(kept))

    living = {one.token[1].base for one in (s.redis, s.old) if one is not None and one.token}
    now, old = redis(s.redis, living), redis(s.old if s.failovers else None, living)
    readers = tuple(
        one._replace(
            seen=one.seen and token(one.seen),
            value=token(one.value) if isinstance(one.value, Token) else one.value,
            leased=one.leased and base(one.leased),
            kept=one.kept and (base(one.kept[0]), *one.kept[1:]),
        )
        for one in s.readers
    )
    return s._replace(redis=now, old=old, readers=readers, fresh=len(numbers))


class Model:
    """The atomic steps of everybody."""

    def __init__(self, rules: Rules, lossy: bool, local: bool) -> None:
        self.rules, self.lossy, self.local = rules, lossy, local

    def steps(self, state: State) -> Iterator[State]:
        for i in range(len(state.writers)):
            yield from self.writer(state, i)
        for i in range(len(state.readers)):
            yield from self.reader(state, i)
        yield from self.accidents(state)

    def accidents(self, s: State) -> Iterator[State]:
        for i, one in enumerate(s.writers):
            if s.kills and one.alive and one.at not in ("idle", "done"):
                yield s.writer(i, alive=False)._replace(kills=s.kills - 1)
        if s.flushes:
            yield s._replace(redis=Redis(), flushes=s.flushes - 1)
        if s.failovers and s.old is None:
            yield s._replace(old=s.redis)
        if s.failovers and s.old is not None:
            yield s._replace(redis=s.old, run=s.run + 1, failovers=s.failovers - 1)
        if self.lossy:  # else nothing is ever turned off, and leases do not matter
            for i, one in enumerate(s.readers):
                if one.lease is not None:
                    yield self._without_lease(s, i)
        for i, one in enumerate(s.readers):
            if one.leased is not None:
                yield self._without_local_lease(s, i)

    def _without_local_lease(self, s: State, i: int) -> State:
        waiting = tuple(w._replace(local_waits=w.local_waits - {i}) for w in s.writers)
        return s.reader(i, leased=None)._replace(writers=waiting)

    def _without_lease(self, s: State, i: int) -> State:
        waiting = tuple(w._replace(waits=w.waits - {i}) for w in s.writers)
        return s.reader(i, lease=None)._replace(writers=waiting)

    # Writers

    def writer(self, s: State, i: int) -> Iterator[State]:
        one = s.writers[i]
        if one.at == "commit":  # also of one that is dead: COMMIT may be on its way
            yield self._committed(s, i)
            if s.kills and one.alive and one.marked:
                yield self._unknown(s._replace(kills=s.kills - 1), i)
        elif one.at == "wait":  # nobody can be told, but the lease's end is the same for all
            if not one.waits or not self.rules.unmarked_waits_for_leases:
                yield self._acknowledged(s.writer(i, at="done"), i)
        elif one.alive:
            yield from getattr(self, f"_writer_{one.at}")(s, i)
        if not one.alive and one.at in ("mark", "unmarked", "local", "commit"):
            yield self._unlocked(s.writer(i, at="done"), i)  # PostgreSQL rolls back

    def _unknown(self, s: State, i: int) -> State:
        """The connection broke during COMMIT, which may yet take effect: the writer has ended."""
        if not self.rules.unknown_outcome_stays_pending:
            s = self._settle(s, i)
        return s.writer(i, alive=False)

    def _writer_idle(self, s: State, i: int) -> Iterator[State]:
        if self.rules.writes_have_a_transaction:
            yield s.writer(i, at="mark")  # has written: its transaction has a number now
        else:  # one statement, which begins after the mark and is its own transaction
            yield self._mark(s, i).writer(i, at="statement", marked=True)

    def _writer_statement(self, s: State, i: int) -> Iterator[State]:
        yield self._committed(s, i)

    def _writer_mark(self, s: State, i: int) -> Iterator[State]:
        if not self.rules.mark_before_commit:
            yield s.writer(i, at="commit", marked=True)
            return
        marked = self._mark(s, i)
        leases = frozenset(r for r, reader in enumerate(s.readers) if reader.leased is not None)
        yield marked.writer(i, at="local", marked=True, local_waits=leases)
        if s.losses:
            lost = "unmarked" if self.rules.unmarked_turns_off else "commit"
            yield s.writer(i, at=lost)._replace(losses=s.losses - 1)
            yield marked.writer(i, at=lost)._replace(losses=s.losses - 1)

    def _writer_local(self, s: State, i: int) -> Iterator[State]:
        if not s.writers[i].local_waits or not self.rules.commit_waits_for_local_leases:
            yield s.writer(i, at="commit", local_waits=frozenset())

    def _mark(self, s: State, i: int) -> State:
        token, s = self._name(s, s.redis.token)
        if token is None:
            base, fresh = ("quarantine", s.fresh, None), s.fresh + 1
            if not self.rules.missing_token_is_quarantined:
                base = ("token", s.fresh)
            return self._token(s._replace(fresh=fresh), Token(frozenset({i}), base))
        if token.base[0] == "quarantine" and not self.rules.quarantine_outlives_marks:
            token = token._replace(base=("token", s.fresh))
            s = s._replace(fresh=s.fresh + 1)
        return self._token(s, token._replace(pending=token.pending | {i}))

    def _writer_unmarked(self, s: State, i: int) -> Iterator[State]:
        """The state's row: turned off, or if it is, held so until the commit."""
        if s.exclusive is not None:
            return
        if s.off:
            yield s.writer(i, at="commit")._replace(shared=s.shared | {i})
        elif not s.shared:
            yield s.writer(i, at="commit", turned_off=True)._replace(exclusive=i)

    def _committed(self, s: State, i: int) -> State:
        one = s.writers[i]
        rows = (*s.rows[:i], 1, *s.rows[i + 1 :])
        s = s._replace(rows=rows)
        if one.turned_off:
            s = s._replace(off=True)
        s = self._unlocked(s, i)
        if one.marked:
            after = "settle" if self.rules.mark_before_commit else "told"
            s = s.writer(i, at=after)
            return self._acknowledged(s, i) if one.alive or after == "settle" else s
        leases = frozenset(
            r for r, reader in enumerate(s.readers) if reader.lease not in (None, "off")
        )
        return s.writer(i, at="wait", waits=leases)

    def _unlocked(self, s: State, i: int) -> State:
        exclusive = None if s.exclusive == i else s.exclusive
        return s._replace(exclusive=exclusive, shared=s.shared - {i})

    def _acknowledged(self, s: State, i: int) -> State:
        return s._replace(floor=(*s.floor[:i], 1, *s.floor[i + 1 :]))

    def _writer_settle(self, s: State, i: int) -> Iterator[State]:
        done = s.writer(i, at="done")
        yield self._settle(done, i)
        if s.losses:
            yield done._replace(losses=s.losses - 1)

    def _writer_told(self, s: State, i: int) -> Iterator[State]:
        """Without a mark: the token is replaced after the commit."""
        done = s.writer(i, at="done")
        yield self._token(done, Token(frozenset(), ("token", s.fresh)))._replace(fresh=s.fresh + 1)

    def _settle(self, s: State, i: int) -> State:
        token, s = self._name(s, s.redis.token)
        if token is None or i not in token.pending:
            return s
        pending = token.pending - {i} if self.rules.everyone_pending_is_listed else frozenset()
        base = token.base
        if not pending and base[0] == "token" and self.rules.settle_makes_a_new_token:
            base, s = ("token", s.fresh), s._replace(fresh=s.fresh + 1)
        return self._token(s, Token(pending, base))

    def _writer_done(self, s: State, i: int) -> Iterator[State]:
        return iter(())

    # Redis

    def _name(self, s: State, held: Any) -> tuple[Token | None, State]:
        """The token under the key of this run."""
        if held is None:
            return None, s
        run, token = held
        return (None if self.rules.keys_name_the_run and run != s.run else token), s

    def _token(self, s: State, token: Token) -> State:
        return s._replace(redis=s.redis._replace(token=(s.run, token)))

    def _swap(self, s: State, seen: Token | None, token: Token) -> State | None:
        """Compare and set; None where it is another one by now."""
        now, s = self._name(s, s.redis.token)
        return self._token(s, token) if now == seen else None

    # Readers

    def reader(self, s: State, i: int) -> Iterator[State]:
        one = s.readers[i]
        yield from getattr(self, f"_reader_{one.at}")(s, i, one)
        redis_is_asked = ("open", "recover", "date", "promote", "fill")
        if s.losses and one.at in redis_is_asked:
            lost = s._replace(losses=s.losses - 1)
            if one.at == "fill":
                yield self._returned(lost, i, one.value)
            else:
                yield self._bypassed(lost, i)

    def _reader_idle(self, s: State, i: int, one: Reader) -> Iterator[State]:
        """A read begins: with a new lease, or by a look at Redis in the same step: strict."""
        if one.lease is None:
            yield from self._lease(s, i)
        elif one.lease != "off":
            yield from self._look(s.reader(i, floor=s.floor), i, (s.run, one.lease))
            if one.leased is not None and one.kept and one.kept[:2] == (one.leased, one.lease):
                yield self._returned(s.reader(i, floor=s.floor), i, one.kept[2])

    def _lease(self, s: State, i: int) -> Iterator[State]:
        yield s.reader(i, lease="off" if s.off else s.epoch)
        unlocked = s.exclusive is None and not s.shared
        if s.off and (unlocked or not self.rules.turning_on_waits_for_unmarked):
            epoch = s.epoch + self.rules.turning_on_changes_the_epoch
            yield s._replace(off=False, epoch=epoch).reader(i, lease=epoch)

    def _look(self, s: State, i: int, name: tuple[int, int]) -> Iterator[State]:
        key = name if self.rules.keys_name_the_run else name[1:]
        token, s = self._name(s, s.redis.token)
        if token is None:
            yield s.reader(i, at="open", seen=None, key=key)
        elif token.pending and self.rules.no_fill_while_pending:
            yield self._bypassed(s, i)
            yield s.reader(i, at="recover", seen=token, key=key)
        elif token.base[0] == "quarantine":
            dated = token.base[2] is not None
            yield s.reader(i, at="ask" if dated else "snapshot", seen=token, key=key)
        else:
            if self.local:
                s = s.reader(i, leased=token.base)
            stamp, value = dict(s.redis.entries).get(key, (None, None))
            if stamp == token.base:
                yield self._returned(self._kept(s, i, stamp, key, value), i, value)
            elif self.rules.token_read_before_sql:
                yield s.reader(i, at="sql", seen=token.base, key=key)
            else:
                yield s.reader(i, at="early", seen=None, key=key)

    def _reader_open(self, s: State, i: int, one: Reader) -> Iterator[State]:
        """There is no token: a quarantine, unless somebody was faster."""
        if not self.rules.missing_token_is_quarantined:
            new = Token(frozenset(), ("token", s.fresh))
            after = {"at": "sql", "seen": new.base}
        else:
            new = Token(frozenset(), ("quarantine", s.fresh, None))
            after = {"at": "snapshot", "seen": new}
            if not self.rules.quarantine_before_snapshot:
                new = new._replace(base=("quarantine", s.fresh, s.in_flight()))
                yield s.reader(i, at="late", seen=new)._replace(fresh=s.fresh + 1)
                return
        swapped = self._swap(s, None, new)
        if swapped is None:
            yield self._bypassed(s, i)
        else:
            yield swapped.reader(i, **after)._replace(fresh=s.fresh + 1)

    def _reader_late(self, s: State, i: int, one: Reader) -> Iterator[State]:
        """The wrong order: the snapshot is there already."""
        swapped = self._swap(s, None, one.seen)
        if swapped is None:
            yield self._bypassed(s, i)
        else:
            yield swapped.reader(i, at="ask")

    def _reader_recover(self, s: State, i: int, one: Reader) -> Iterator[State]:
        """A mark has been there for too long: its writer may be dead."""
        kind = "quarantine" if self.rules.recovery_is_quarantined else "token"
        base = (kind, s.fresh, None) if kind == "quarantine" else (kind, s.fresh)
        new = Token(frozenset(), base)
        swapped = self._swap(s, one.seen, new)
        if swapped is None:
            yield self._bypassed(s, i)
            return
        after = {"at": "snapshot", "seen": new} if kind == "quarantine" else {"at": "sql"}
        if kind == "token":
            after["seen"] = base
        yield swapped.reader(i, **after)._replace(fresh=s.fresh + 1)

    def _reader_snapshot(self, s: State, i: int, one: Reader) -> Iterator[State]:
        base = (*one.seen.base[:2], s.in_flight())
        yield s.reader(i, at="date", value=one.seen, seen=one.seen._replace(base=base))

    def _reader_date(self, s: State, i: int, one: Reader) -> Iterator[State]:
        swapped = self._swap(s, one.value, one.seen)
        if swapped is None:
            yield self._bypassed(s, i)
        else:
            yield swapped.reader(i, at="ask", value=None)

    def _reader_ask(self, s: State, i: int, one: Reader) -> Iterator[State]:
        """PostgreSQL: has everybody ended who was in flight when the quarantine was dated?"""
        if one.seen.base[2] & s.in_flight():
            yield self._bypassed(s, i)
        else:
            yield s.reader(i, at="promote")

    def _reader_promote(self, s: State, i: int, one: Reader) -> Iterator[State]:
        base = ("token", s.fresh)
        swapped = self._swap(s, one.seen, Token(frozenset(), base))
        if swapped is None:
            yield self._bypassed(s, i)
        else:
            yield swapped.reader(i, at="sql", seen=base)._replace(fresh=s.fresh + 1)

    def _reader_sql(self, s: State, i: int, one: Reader) -> Iterator[State]:
        yield s.reader(i, at="fill", value=s.rows)

    def _reader_early(self, s: State, i: int, one: Reader) -> Iterator[State]:
        """The wrong order: SQL first, then the token that the entry is stamped with."""
        yield s.reader(i, at="stamp", value=s.rows)

    def _reader_stamp(self, s: State, i: int, one: Reader) -> Iterator[State]:
        token, s = self._name(s, s.redis.token)
        if token is None or token.pending or token.base[0] != "token":
            yield self._returned(s, i, one.value)
        else:
            yield s.reader(i, at="fill", seen=token.base)

    def _reader_fill(self, s: State, i: int, one: Reader) -> Iterator[State]:
        filled = s._replace(redis=s.redis.with_entry(one.key, (one.seen, one.value)))
        filled = self._kept(filled, i, one.seen, one.key, one.value)
        yield self._returned(filled, i, one.value)

    def _kept(self, s: State, i: int, stamp: Any, key: Any, value: Any) -> State:
        """In the reader's own memory, for as long as it has a lease on the token."""
        return s.reader(i, kept=(stamp, key[-1], value)) if self.local else s

    def _bypassed(self, s: State, i: int) -> State:
        """Straight to the database, which is never stale, and nothing is kept."""
        return self._returned(s, i, s.rows)

    def _returned(self, s: State, i: int, value: tuple[int, ...]) -> State:
        floor = s.readers[i].floor
        if any(seen < known for seen, known in zip(value, floor, strict=True)):
            raise Stale(f"read {value}, but {floor} was known before it began: {s}")
        return s.reader(i, at="idle", floor=(), key=None, seen=None, value=None)
