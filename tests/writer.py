"""A writer that runs through an operation, and remembers what was acknowledged."""

import http.client
import re
import threading
import time

from tests.visitor import Answer, Visitor

__all__ = ["Writer"]

PAUSE_SECONDS = 0.05


class Writer:
    """A recruiter who invites one candidate after another, in a thread, until stopped.

    `acknowledged` holds the invitations' codes, `refused` the error pages; `unanswered` counts
    requests without an answer, and `longest_silence` is the longest time between two
    acknowledgements, in seconds.
    """

    def __init__(self, visitor: Visitor, slug: str) -> None:
        self.visitor, self.slug = visitor, slug
        self.test = visitor.first_test(slug)
        self.acknowledged: list[str] = []
        self.refused: list[Answer] = []
        self.unanswered = 0
        self.longest_silence = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def errors(self) -> int:
        """Requests that did not do what they should."""
        return len(self.refused) + self.unanswered

    def stop(self) -> None:
        """End after the request under way."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._stopping.is_set():
            code = self._invite()
            if code:
                self.acknowledged.append(code)
                now = time.monotonic()
                self.longest_silence, last = max(self.longest_silence, now - last), now
            else:
                self._stopping.wait(PAUSE_SECONDS)

    def _invite(self) -> str | None:
        """The new invitation's code, if it was acknowledged."""
        form = {"test": self.test, "name": "Writer", "email": f"w{time.time_ns()}@example.net"}
        try:
            answer = self.visitor.post(f"/a/{self.slug}/invite/", **form)
        except (OSError, http.client.HTTPException):
            self.unanswered += 1
            return None
        made = re.search(r"made=(\w+)", answer.location)
        if not made:
            self.refused.append(answer)
            return None
        return made[1]
