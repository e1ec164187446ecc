"""Moving an account to another shard in use: `manage.py shards move ACCOUNT --to SHARD`.

On PostgreSQL 15 or later, past the pooler, by a role that may `SET session_replication_role` (its
triggers and foreign keys do not look at what the mover writes). No slot, no publication, no
superuser: what changes while rows are copied is noted by the ownership's own triggers.

Steps (`steps.STEPS`), and what the two shards say of the account after each:

| step | source | target | what is done |
| --- | --- | --- | --- |
| begun | owner | moved | states, schemas agree; a row in the journal, locks on both (`opening`) |
| incoming | owner | incoming | the target refuses everybody |
| emptied | owner | incoming | leftovers of an earlier move are deleted, in batches |
| captured | captured | incoming | from now on the source's triggers note the key of each change |
| waited | captured | incoming | every transaction that may not know of it has ended |
| copied | captured | incoming | COPY, binary, of one snapshot, table by table, at a pace |
| compared | captured | incoming | both sides hold the same: every column of every row |
| caught up | captured | incoming | rounds of noted keys, each compared, until few are left |
| fenced | captured | incoming | the account's writers have ended, new ones are refused: FU001 |
| replayed | captured | incoming | the last keys, compared; on disk at the target |
| given up | moved | incoming | **the single commit at which the owner changes**; ends the fence |
| owned | moved | owner | the target takes writes |
| published | moved | owner | the map says so; `signals.account_moved`, for caches |
| cleaned | moved | owner | after OWNER_SECONDS the old copy is deleted, in batches |

What holds:
1. The target equals the snapshot (compared whole), and after each round a later one: nobody but the
   mover writes there, and each round's rows are compared. Under the fence the last round makes it
   equal to the source as it is for good. A difference, or a reference row that the target has not,
   undoes the move. The pause does not grow with the account.
2. No change goes unnoted between snapshot and fence: see `routers.ownership`, invariants 1 and 2.
   Noted keys are taken with the source's commit, after the target's.
3. The target is durable before the source gives up: `synchronous_commit` is at least on.
4. The source's word decides what becomes of a killed move: *moved* is finished, anything else
   undone (`settling`), whatever the journal's notes say. Between "given up" and "owned" (about two
   milliseconds) nobody owns the account: a mover that dies there leaves it unwritable until
   `shards move --resume`, which a timer should run.
5. Rows are deleted only while the shard says, in the same transaction, that they are not its own.
6. A mover does nothing on a shard but in the session that holds the right to move there, so a
   frozen or cut-off one cannot meddle with its successor. Migrations by `migrate_shards` wait, or
   are waited for.
7. A process may read the old copy for OWNER_SECONDS: it is whole for at least as long.

`keep` leaves the old copy and puts the target into *captured* in the commit in which it becomes
owner: what changes is noted there, and `move_back` carries it over, compares all, and switches, by
the same steps. The notes grow until then, a row a change; `release` ends it.

Not done: whole slots, with the accounts that are not there yet; pace by the neighbours' latency
(`--limit` is a fixed rate); feeding the old copy all the time (its distance grows until --back);
servers that differ in collation version or types of the same name; rows that are changed past
triggers (TRUNCATE, session_replication_role), which only a difference in the comparison would show;
large objects. Sequences need nothing: keys are unique over shards.
"""
