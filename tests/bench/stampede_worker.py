"""A process of the bench of stampedes: many threads that ask for one value at the same instant.

Lines on standard input: "warm" makes every thread ready, "forget" ends what is kept, "ask compute"
(or "wait", "stale") lets all threads ask. Each is answered by a line; of "ask" {"computed": how
often, "failed": how often the database refused, "refusal": why, "answers": the different ones,
"seconds": [of each thread]}.
"""

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock, Semaphore
from typing import Any

if __name__ == "__main__":
    sys.path.pop(0)  # this folder, whose modules are called as packages are

from django.conf import settings

ACCOUNT = 5
OPTIONS: dict[str, dict[str, Any]] = {
    "compute": {},
    "wait": {"on_miss": "wait", "wait": 10},
    "stale": {"on_miss": "stale", "wait": 10, "stale": 60},
}
SLOW = "SELECT count(*) FROM bench_book, pg_sleep(%s) WHERE account_id = %s"


class Crowd:
    """`size` threads with connections of their own, as those of a server of the site are."""

    def __init__(self, size: int, seconds: float) -> None:
        self.size, self.seconds, self.computed, self.refusal = size, seconds, 0, ""
        self.threads = ThreadPoolExecutor(size)
        self.lock, self.connecting = Lock(), Semaphore(10)

    def warm(self) -> None:
        self._all(self._connect)

    def ask(self, how: str) -> dict[str, Any]:
        from caching import service

        service.forget()
        service.current("shard01", renew=True)  # for a second: else each thread may ask for it
        self.computed = 0
        found = self._all(lambda: self._timed(how))
        answers = [answer for answer, _ in found if answer is not None]
        return {
            "computed": self.computed,
            "failed": self.size - len(answers),
            "refusal": self.refusal,
            "answers": sorted(set(answers)),
            "seconds": [seconds for _, seconds in found],
        }

    def _all(self, work: Callable[[], Any]) -> list[Any]:
        """`work` by every thread, all at once."""
        barrier = Barrier(self.size)

        def run() -> Any:
            from routers import account_context

            barrier.wait(60)
            with account_context(ACCOUNT):
                return work()

        return [job.result(60) for job in [self.threads.submit(run) for _ in range(self.size)]]

    def _connect(self) -> None:
        """Once; a thread that has no answer to compute needs no database."""
        from django.db import connections

        with self.connecting:
            connections["shard01"].ensure_connection()
            self._value("compute", lambda: 0, "warm")
            connections["shard01"].close()

    def _timed(self, how: str) -> tuple[int | None, float]:
        from django.db import Error

        began = time.perf_counter()
        try:
            answer: int | None = self._value(how, self._compute, "books")
        except Error as error:  # the pooler has too many clients, or they wait for too long
            answer, self.refusal = None, str(error).strip()
        return answer, time.perf_counter() - began

    @staticmethod
    def _value(how: str, compute: Callable[[], int], name: str) -> int:
        from caching import cached

        return int(cached((name,), compute, **OPTIONS[how]))

    def _compute(self) -> int:
        from django.db import connections

        with self.lock:
            self.computed += 1
        try:
            with connections["shard01"].cursor() as cursor:
                cursor.execute(SLOW, [self.seconds, ACCOUNT])
                (number,) = cursor.fetchone()
        finally:
            connections["shard01"].close()
        return int(number)


def main(given: dict[str, Any]) -> None:
    import django

    configure(given)
    django.setup()
    make_model()
    from caching import bump
    from routers import ShardMap
    from routers.shard_map import use_map

    use_map(ShardMap.even(["shard01"]))
    crowd = Crowd(given["threads"], given["seconds"])
    for line in sys.stdin:
        match line.split():
            case ["warm"]:
                print(json.dumps(crowd.warm()), flush=True)
            case ["forget"]:
                print(json.dumps(bump(ACCOUNT)), flush=True)
            case ["ask", how]:
                print(json.dumps(crowd.ask(how)), flush=True)


def configure(given: dict[str, Any]) -> None:
    cache = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": given["redis"]}
    settings.configure(
        INSTALLED_APPS=["routers", "caching"],
        DATABASES={"default": given["database"], "shard01": given["database"]},
        DATABASE_ROUTERS=["routers.router.ShardRouter"],
        SHARDING={"SHARDS": {"shard01": 1}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        SECRET_KEY="a bench's",
        CACHES={"default": cache},
        CACHING={"ANSWER_SECONDS": 5},  # all threads of all processes share this machine
        USE_TZ=True,
    )


def make_model() -> None:
    """One that is cached, so that writes of the account are told."""
    from django.db import models

    from caching.mixins import CachingMixin
    from routers.models import ShardedModel

    about = type("Meta", (ShardedModel.Meta,), {"app_label": "caching", "db_table": "bench_book"})
    columns = {"title": models.CharField(max_length=50), "__module__": __name__, "Meta": about}
    type("Book", (CachingMixin, ShardedModel), columns)


if __name__ == "__main__":
    main(json.loads(sys.stdin.readline()))
