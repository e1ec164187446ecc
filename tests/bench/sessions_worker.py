"""A process of the bench of the sessions table: one way to ask for it, by the site's own handler.

The first line on standard input is {"way": …, "slug": of the account}; it is answered by the
account's id and shard. Then {"query": …, "times": n} is answered by {"seconds": [n], "queries":
statements that a page asks, "trips": messages to Redis}.
"""

import json
import os
import sys
import time
from contextlib import ExitStack
from typing import Any

if __name__ == "__main__":
    sys.path.pop(0)  # this folder, whose modules are called as packages are

from tests.visitor import DEMO_EMAIL

WARM_SECONDS = 30.0


class Visits:
    """Somebody who is logged in, and looks at the table."""

    def __init__(self, way: str, slug: str) -> None:
        from django.test import Client
        from django.urls import reverse

        from accounts.models import Account, User
        from caching.line import Line
        from routers import shard_of

        self.way, self.trips = way, 0
        self.client = Client(SERVER_NAME="localhost")
        self.client.force_login(User.objects.get(email=DEMO_EMAIL))
        self.account = Account.objects.get(slug=slug)
        self.shard = shard_of(self.account.pk)
        self.address = reverse("assessments:sessions", args=[slug])
        told = Line._answer

        def counted(line: Line, command: tuple[Any, ...]) -> Any:
            self.trips += 1
            return told(line, command)

        Line._answer = counted  # type: ignore[method-assign]

    def measured(self, query: str, times: int) -> dict[str, Any]:
        if self.way.startswith("warm"):
            self._warm(query)
        seconds = [self._timed(query) for _ in range(times)]
        queries, trips = self._counted(query)
        return {"seconds": seconds, "queries": queries, "trips": trips}

    def _timed(self, query: str) -> float:
        self._forget()
        began = time.perf_counter()
        self._visit(query)
        return time.perf_counter() - began

    def _visit(self, query: str) -> None:
        response = self.client.get(self.address + query)
        assert response.status_code == 200, response.status_code
        assert b'class="sessions lines"' in response.content

    def _forget(self) -> None:
        import caching
        from caching.wire import wire

        if self.way == "cold":
            wire().call(lambda run: ("FLUSHDB",))
        elif self.way == "after a write":
            caching.bump(self.account.pk)

    def _warm(self, query: str) -> None:
        """Until nothing is asked but who is logged in."""
        deadline = time.monotonic() + WARM_SECONDS
        while self._counted(query)[0] > 2:
            assert time.monotonic() < deadline, "the page does not come from the cache"

    def _counted(self, query: str) -> tuple[int, int]:
        """Statements, whatever asks them on Django's cursors; messages to Redis."""
        from django.db import connections

        asked = []

        def noted(execute: Any, sql: Any, *rest: Any) -> Any:
            asked.append(sql)
            return execute(sql, *rest)

        self._forget()
        self.trips = 0
        with ExitStack() as stack:
            for connection in connections.all():
                stack.enter_context(connection.execute_wrapper(noted))
            self._visit(query)
        return len(asked), self.trips


def main(given: dict[str, Any]) -> None:
    import django
    from django.conf import settings

    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    if given["way"] == "uncached":
        settings.CACHING = None
    django.setup()
    if given["way"] == "warm models":
        from caching import fragment_page

        fragment_page._is_used = lambda: False
    visits = Visits(**given)
    print(json.dumps({"account": visits.account.pk, "shard": visits.shard}), flush=True)
    for line in sys.stdin:
        print(json.dumps(visits.measured(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.stdin.readline()))
