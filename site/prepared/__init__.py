"""Answers that a task prepares: shown stale while a fresh one is made, and made once for everybody.

    board = Prepared("contests.board", make_board, fresh_seconds=20)

    answer = board.get("spring")            # in a view: never waits for `make_board`
    return answered(request, answer, lambda answer: render(request, "board.html", …))

`make_board("spring")` is run by a Celery task, outside of any account; what it returns is pickled
into the cache's Redis for everybody. `get` costs one read there and gives one of:

    FRESH    made less than `fresh_seconds` ago
    STALE    the former one: a task is at work, or was asked for by this very `get`
    PENDING  there is none yet, and a task is at work: 202, ask again after `retry_after`
    REFUSED  there is none, and making it failed a moment ago: 503, ask again after `retry_after`

Once: whoever finds an answer missing or old takes a lease on it (SET NX with an end) and sends the
task; everybody else sees that it is taken. The task renews the lease while it works. The answer is
stored, and the lease ended, in one step, and only by whoever holds it. So it is made twice only
where a task dies, is frozen for longer than LEASE_SECONDS, or waits in the queue for longer than
QUEUED_SECONDS: then the lease ends by itself, and the next who asks sends another. What failed is
not tried again for REST_SECONDS.

Broker away: whoever has the lease makes the answer itself. Redis away, or none: each process makes
one answer at a time, no oftener than each `fresh_seconds`; its other threads see the former one, or
PENDING. However many ask, the shards are asked once by each process.

Declare it in a module that the app's `jobs` imports, so that workers know its name.
"""

from prepared.answers import Answer, Prepared, State
from prepared.http import answered

__all__ = ["Answer", "Prepared", "State", "answered"]
