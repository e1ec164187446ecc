"""A person with a web browser, without the browser: cookies, forms, whole journeys over HTTP."""

import http.client
import re
import ssl
import time
import urllib.parse
from dataclasses import dataclass
from html import unescape
from pathlib import Path

from tests.variants import SITE_PATH

__all__ = ["DEMO_EMAIL", "Answer", "Visitor"]

DEMO_EMAIL = "demo@fulcrum.test"

TIMEOUT_SECONDS = 60
JUDGED_WITHIN_SECONDS = 90
IDLE_SECONDS = 2  # the server closes an idle connection after 5, and may do so in the midst of ours


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    text: str
    location: str


class Visitor:
    """One connection, kept, and its cookies. Raises OSError or HTTPException where none is had.

    `authority`: whom to trust for an address with https.
    """

    def __init__(self, url: str, authority: Path | None = None) -> None:
        self.url, self.netloc = url, urllib.parse.urlsplit(url).netloc
        self.connection = _connection(url, authority)
        self.cookies: dict[str, str] = {}
        self._answered_at = 0.0

    def __del__(self) -> None:
        self.connection.close()

    def get(self, path: str) -> Answer:
        """GET, without following redirects."""
        return self._request("GET", path)

    def post(self, path: str, **form: str) -> Answer:
        """POST a form, with the CSRF token of the page at `path` or of one seen before."""
        if "csrftoken" not in self.cookies:
            self.get(path)
        token = {"csrfmiddlewaretoken": self.cookies.get("csrftoken", "")}
        return self._request("POST", path, urllib.parse.urlencode({**form, **token}))

    def page(self, path: str) -> str:
        """The text of a page that must be there."""
        answer = self.get(path)
        assert answer.status == 200, f"GET {path}: {answer.status} {answer.location}"
        return answer.text

    def _request(self, method: str, path: str, body: str | None = None) -> Answer:
        headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            headers["Origin"] = self.url
        if time.monotonic() - self._answered_at > IDLE_SECONDS:
            self.connection.close()  # a form that may have arrived must not be sent twice
        try:
            self.connection.request(method, path, body, headers)
            response = self.connection.getresponse()
            text = response.read().decode()
            self._answered_at = time.monotonic()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            raise
        for cookie in response.headers.get_all("Set-Cookie", []):
            name, _, value = cookie.split(";")[0].partition("=")
            self.cookies[name] = value
        return Answer(response.status, text, response.headers.get("Location", ""))

    def log_in(self, email: str, password: str) -> "Visitor":
        answer = self.post("/login/", username=email, password=password)
        assert answer.status == 302, f"login: {answer.status}"
        return self

    def first_test(self, slug: str) -> str:
        """The id of the first test in the invitation form."""
        found = re.search(r'<option value="(\d+)"', self.page(f"/a/{slug}/invite/"))
        assert found, "no test to choose"
        return found[1]

    def invite(self, slug: str, test: str, name: str, email: str) -> str:
        """Invite a candidate; the invitation's code."""
        answer = self.post(f"/a/{slug}/invite/", test=test, name=name, email=email)
        found = re.search(r"made=(\w+)", answer.location)
        assert found, f"invitation: {answer.status} {answer.text[:500]}"
        return found[1]

    def sit(self, slug: str, code: str) -> None:
        """Sit the whole test as its candidate: accept, submit right outputs, finish."""
        home = f"/c/{slug}/{code}/"
        self.page(home)
        assert self.post(f"{home}start/", accept="on").status == 302
        tasks = sorted(set(re.findall(rf'href="{home}tasks/([\w-]+)/"', self.page(home))))
        assert tasks, "no tasks on the candidate's page"
        for task in tasks:
            answer = self.post(f"{home}tasks/{task}/", text=_solution(task, code))
            assert answer.status == 302, f"submitting {task}: {answer.status}"
        assert self.post(f"{home}finish/").status == 302

    def report(self, slug: str, code: str) -> str:
        """The report once it is judged, within a deadline."""
        deadline = time.monotonic() + JUDGED_WITHIN_SECONDS
        while "Judged" not in (text := self.page(f"/a/{slug}/sessions/{code}/")):
            assert time.monotonic() < deadline, "not judged in time"
            time.sleep(0.2)
        return unescape(text)


def _connection(url: str, authority: Path | None) -> http.client.HTTPConnection:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=authority)
        return http.client.HTTPSConnection(parts.netloc, timeout=TIMEOUT_SECONDS, context=context)
    return http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_SECONDS)


def _solution(slug: str, code: str) -> str:
    import sys

    if SITE_PATH not in sys.path:
        sys.path.append(SITE_PATH)
    from tasks import library

    return library.solution_file(library.get(slug), code)
