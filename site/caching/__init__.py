"""A cache of query results that is one round trip away and never wrong.

A place is what a write concerns: an account (all its rows, wherever they live), or a table of the
catalog. Redis holds one token for each place, and entries stamped with the token under which they
were made. An entry is valid while its stamp is the token. The names below are those of the model in
`tests/unit/site/caching/protocol_model.py`, which walks through every interleaving of readers,
writers, killed writers, lost messages, an emptied Redis and one that went back in time: it finds no
stale read, and finds one as soon as any single step is left out.

The promise: a read that starts after a COMMIT took effect sees it, were its writer killed in the
next instruction. One exception: a writer that cannot reach Redis (rule 6) is the last to know, so
there the promise begins when its commit returns.

Readers
 1. Token and entry are read in one round trip, before any SQL runs. Equal stamp: a hit.
 2. A new entry is stamped with the token of rule 1, never with a later one. Nothing is kept that
    was read inside a transaction, or anywhere but at the primary. A transaction that has written
    does not look at Redis at all.
 3. Where there is no token, one is made in quarantine. It becomes usable when PostgreSQL shows that
    every transaction has ended that was in flight after the quarantine began: one of them may have
    marked a token that Redis has lost since. Nothing is kept before.

Writers
 4. Every write runs in a transaction: it has its number before the mark, and rule 3 sees it. Just
    before COMMIT its places are marked: the writer is listed in the token, under which nothing is
    valid or kept. A quarantine stays under the mark.
 5. After COMMIT or ROLLBACK the writer is taken from the list. When the list is empty the token is
    a new one. Where nobody knows how the COMMIT ended, or Redis is away, or the writer is dead, the
    mark stays: a reader that has seen it for too long puts the token in quarantine (rule 3), which
    the writer's transaction ends.
 6. Who cannot mark turns the cache of that database off, by a row there in the same transaction,
    and is not told of its commit before every lease on "on" has ended that may be older. Readers
    hold such a lease for a second at most. Turning it on waits for the open transactions of such
    writers, which hold the row, and makes a new epoch. So do writes whose account is not known, and
    migrations.

Names
 7. A token's key has the run of the Redis server: what a restarted, restored or promoted one holds
    of another run's is not there.
 8. An entry's key has the database, its server's identity and timeline, the epoch, and a digest of
    all models and of the code that reads it: a restored backup, a promoted replica, a deploy.
 9. A token names the database and version of the shard map for which it was made. Who has a newer
    map puts it in quarantine; who has an older one keeps nothing. An account has one token wherever
    it lives, so what is written there counts when it comes back.
10. Every token is one string under one key, so eviction loses all of it or nothing.

In a process's memory
11. An entry of a table that asks for it may be kept there too. It counts for a fraction of a second
    after the process began to ask for its tokens and found those of the stamp (a lease). A writer
    of such a table waits between its mark, under which nobody gets a lease, and its COMMIT until
    every older lease has ended. See `caching.local`.

No clock is compared with another, and none that can be set says what is right: durations are
measured on one machine, by a clock that counts since boot. Lifetimes on Redis decide only about
memory, and the time an entry was made only when it is made anew. One reader may say that what was
valid seconds ago will do (`on_miss="stale"`): `policy`.

Not promised
 *  Two Redis primaries at once that both answer (a split brain). A connection that was kept goes on
    reading the former one for LEASE_SECONDS at most after Sentinel knows another primary, or the
    server knows that it is a replica: so often it asks both, and without a Sentinel that answers
    there is no cache. One that hung is not read at all after a failover that took longer. It lasts
    longer only beside a Sentinel that is cut off from the others too; and a Cluster's node that is
    cut off, until `cluster-node-timeout`.
 *  Rows changed past Django or by functions inside a SELECT, until `bump()` or `touch()`.
 *  An older timeline restored over the same server and database, until `manage.py cache bump
    --database`.

Where it is, from what a project uses down to the wire
    mixins, managers, queryset, raw, options, policy    models that are cached
    computed, memoise                                   values and methods of one's own
    templatetags/fragments, fragment_*                  parts of a page
    guard, watched, moments                             what one may show, and when it is kept
    recording, unbuilt, questions, shapes, aggregates   a query's question, told without its SQL
    remember, reads, stampede                           one question: a hit, or who computes it
    entries, rows, plainness, codec                     an answer as bytes
    writes, statements, transactions                    what is written, and its COMMIT
    places, store, scripts, local, service              rules 1 to 11 on Redis, here, in PostgreSQL
    wire, line, servers, redis_*                        connections
    counts, totals, report, inventory, metrics, panel   what the cache did
    checks, template_checks                             what is wrong before anybody asks
"""

from typing import Any

__all__ = ["bump", "cached", "touch"]


def bump(account_id: int) -> None:
    """Forget what is kept of an account, for its rows were changed past Django."""
    from caching.writes import bump_account

    bump_account(account_id)


def touch() -> None:
    """The open transaction has written to the account in force: by a function inside a SELECT."""
    from caching.writes import touch_account

    touch_account()


def cached(key: Any, compute: Any, **options: Any) -> Any:
    """What `compute()` returns, kept as rows are: see `caching.computed.cached` for the options."""
    from caching.computed import cached as found

    return found(key, compute, **options)
