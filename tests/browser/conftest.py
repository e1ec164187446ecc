"""A site of its own on SQLite, served by gunicorn, and a headless Chromium to use it with."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.variants import CHECKOUT, PYTHONPATH

START_SECONDS = 120
END_SECONDS = 60  # gunicorn gives requests 30 s to end
EXPECT_MS = 30_000  # a busy machine is slow, and nothing of it wrong
APPLICATION = "config.wsgi"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
SEED = (
    "import json, django; django.setup(); from tests.browser.seed import fill; "
    "print(json.dumps(fill()))"
)


@dataclass(frozen=True)
class Site:
    """A running site: its address, and the names and codes that the seed made."""

    url: str
    seeded: dict[str, str]

    def __getitem__(self, name: str) -> str:
        return self.seeded[name]

    def account_url(self, path: str = "", account: str = "account") -> str:
        return f"{self.url}/a/{self.seeded[account]}/{path}"

    def candidate_url(self, code: str, path: str = "") -> str:
        return f"{self.url}/c/{self.seeded['account']}/{self.seeded.get(code, code)}/{path}"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site, migrated, seeded and answering."""
    with running(tmp_path_factory.mktemp("site"), [SEED]) as made:
        yield made


@contextmanager
def running(
    folder: Path, seeds: list[str], application: str = APPLICATION, **config: Any
) -> Iterator[Site]:
    """A site on databases in `folder`; `config`: more of site.json.

    Each of `seeds` is a program; what the first prints is the site's `seeded`. The port is held
    from the first on, so that nobody takes it before gunicorn has it.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        environment = _environment(folder, url, config)
        for command in (["migrate_shards"], ["load_tasks"]):
            _run([sys.executable, "-m", "django", *command], environment)
        said = [_run([sys.executable, "-c", seed], environment) for seed in seeds]
        with _served(listener, application, environment, folder / "gunicorn.log") as server:
            _wait_for(server, f"{url}/login/", folder / "gunicorn.log")
            yield Site(url, json.loads(said[0]))


@contextmanager
def _served(
    listener: socket.socket, application: str, environment: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    number = listener.fileno()
    gunicorn = [sys.executable, "-m", "gunicorn", application, "--no-control-socket"]
    gunicorn += ["--bind", f"fd://{number}", "--threads", "4"]
    with log.open("w") as out:
        server = subprocess.Popen(
            gunicorn, env=environment, cwd=CHECKOUT, stdout=out, stderr=out, pass_fds=[number]
        )
    try:
        yield server
    finally:
        server.terminate()
        server.wait(timeout=END_SECONDS)


@pytest.fixture(scope="session")
def site_url(site: Site) -> str:
    """The site's address."""
    return site.url


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    expect.set_options(timeout=EXPECT_MS)
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("No chromium on this machine. `apt-get install chromium` brings it.")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser of a new visitor."""
    made = browser.new_context(viewport={"width": 1280, "height": 900})
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A page that fails the test by any error on its console, once `console_errors` is asked."""
    return context.new_page()


def log_in(page: Page, site: Site, email: str = "owner@example.com") -> None:
    """Log in by the form."""
    page.goto(f"{site.url}/login/")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(site["password"])
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(lambda url: "/login/" not in url)


def _environment(folder: Path, url: str, more: dict[str, Any]) -> dict[str, str]:
    names = [f"shard{number:02}" for number in range(1, 5)]
    shards = {
        name: {"name": str(folder / f"{name}.sqlite3"), "number": number}
        for number, name in enumerate(names, start=1)
    }
    config = {
        "engine": "sqlite",
        "secret_key": "only for the browser tests, and long enough to be taken",
        "debug": False,
        "allowed_hosts": ["127.0.0.1"],
        "public_url": url,
        "directory_state": str(folder),
        "databases": {"default": {"name": str(folder / "catalog.sqlite3")}, **shards},
        "cache": None,
        "broker": None,
        **more,
    }
    (folder / "site.json").write_text(json.dumps(config))
    return {
        **os.environ,
        "FULCRUM_CONFIG": str(folder / "site.json"),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "PYTHONPATH": PYTHONPATH,
    }


def _run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, env=environment, cwd=CHECKOUT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _wait_for(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=10):  # noqa: S310 - our own http address
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"The site did not answer in {START_SECONDS} s:\n{log.read_text()}")
