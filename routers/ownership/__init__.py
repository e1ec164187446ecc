"""Each shard knows which accounts it owns, and refuses the writes of a process that does not know.

Truth. Two tables on each shard (PostgreSQL only). `routers_owner_slot` has all 4096 slots once the
shard was told (`manage.py shards tell`), each *owner*, *captured* or *moved*. An account without a
row in `routers_owner_account` is what its slot is; rows are for exceptions: accounts that move,
have moved or are pinned. So nothing is made for a new account, and it can be written at once. A
shard that was never told refuses nothing: `shards check` complains once another one was told. A
row's `epoch` rises with every change; `moved_to` is the new shard's alias.

| state | its writes | its reads |
| --- | --- | --- |
| owner | pass | pass |
| captured | pass, each row's key noted in `routers_owner_captured` | pass |
| moved | FU002, the new shard in DETAIL | FU002 |
| incoming, or a slot that the shard has not | FU003 | FU003 |
| any that is looked up, while its fence is up or waited for | FU001, at once | as its state |

Errors of the database: FU001 AccountMoving, FU002 AccountMoved, FU003 AccountNotHere.

Check. A row trigger on every sharded table (INSERT, UPDATE, DELETE; COPY and cascades with them).
Where the slot is *open* (owned, and no account of it has a row) it reads one bit of a constant,
`routers_open_slots()`, which is compiled from the tables: no table is read and no lock taken. An
account that is alone in a slot of others' passes by `routers_open_accounts()` in the same way. All
others are looked up by `routers_check_owner(account)`: first a shared advisory lock, tried and
never waited for, then the state in a newer snapshot, FOR SHARE outside READ COMMITTED. TRUNCATE is
not looked at (the application may not), nor is `session_replication_role = replica` (the mover).

Invariants, for whoever moves an account:
1. An account is taken out of the fast check by `set_account(…, CAPTURED)`, committed; then every
   transaction of `transactions()` taken after that commit has to end (`still_open()`) before the
   fence. They may have passed by the constant, or by an old snapshot, without the lock. Nobody
   waits meanwhile. The rows noted before all of them have ended are not all of the changed rows.
2. From then on every writer of the account holds its lock to the end of its transaction.
3. Fence: `fence(cursor, account, milliseconds)` in a transaction; `set_account(…, MOVED, to)` in
   the same one. Its commit is the single point at which ownership changes, and releases the fence.
4. The target is *incoming* until the source has committed *moved*, then *owner*.
5. A slot goes in the same way, with `capture_slot`, `transactions`, `fence_slot` and `set_slots`:
   after each of its accounts, whose rows then say *moved*. What accounts began in it meanwhile is
   in `routers_owner_captured`. Then `set_slots` and `forget_account` at the target.
6. The shards' tables are the truth, the map a cache of it: the map is published after.
7. All changes of state are made by `routers.ownership.changing`, which compiles the constants.

Locks: `pg_advisory_xact_lock(account # LOCK_SPACE)`, `((-1 - slot) # LOCK_SPACE)` for a slot, in
the space of one 64-bit key; the library's other locks are pairs of 32 bits. Prepared transactions
(PREPARE TRANSACTION) are not waited for: leave `max_prepared_transactions` at 0.

Application. `guard` sits on each connection. It turns the codes into errors; sends an UPDATE or
DELETE that found no row again, together with the check; and asks, in the same message as a read,
whether the account may be read here, unless this process was told so within
SHARDING["OWNER_SECONDS"] (5): the longest time for which an old copy is read (plus, on a replica,
its lag), whatever catalog, Redis and timers do. `again` runs a request or a task once more.
"""
