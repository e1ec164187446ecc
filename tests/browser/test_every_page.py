"""Each page at desktop and phone width: nothing on the console, no sideways scroll, one h1, labels.

SCREENSHOTS=folder also keeps a picture of each, in light and in dark.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import Site, log_in

WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
SCREENSHOTS = os.environ.get("SCREENSHOTS")

MEMBER_PAGES: dict[str, Callable[[Site], str]] = {
    "accounts": lambda s: f"{s.url}/",
    "dashboard": lambda s: s.account_url(),
    "dashboard-empty": lambda s: s.account_url(account="empty"),
    "sessions": lambda s: s.account_url("sessions/"),
    "sessions-sorted": lambda s: s.account_url("sessions/?sort=name&status=closed"),
    "sessions-nothing-found": lambda s: s.account_url("sessions/?q=nobody-of-that-name"),
    "sessions-empty": lambda s: s.account_url("sessions/", account="empty"),
    "report": lambda s: s.account_url(f"sessions/{s['judged']}/"),
    "report-waiting": lambda s: s.account_url(f"sessions/{s['waiting']}/"),
    "report-started": lambda s: s.account_url(f"sessions/{s['open']}/"),
    "report-invited": lambda s: s.account_url(f"sessions/{s['invited']}/"),
    "invite": lambda s: s.account_url("invite/"),
    "invite-made": lambda s: s.account_url(f"invite/?made={s['invited']}"),
    "invite-no-test": lambda s: s.account_url("invite/", account="empty"),
    "invite-csv": lambda s: s.account_url("invite/csv/"),
    "tests": lambda s: s.account_url("tests/"),
    "tests-empty": lambda s: s.account_url("tests/", account="empty"),
    "test-new": lambda s: s.account_url("tests/new/"),
    "our-contests": lambda s: s.account_url("contests/"),
}
OPEN_PAGES: dict[str, Callable[[Site], str]] = {
    "front": lambda s: f"{s.url}/",
    "login": lambda s: f"{s.url}/login/",
    "welcome": lambda s: s.candidate_url("invited"),
    "tasks": lambda s: s.candidate_url("open"),
    "task": lambda s: s.candidate_url("open", "tasks/equilibrium-index/"),
    "finish": lambda s: s.candidate_url("open", "finish/"),
    "thanks": lambda s: s.candidate_url("judged"),
    "time-over": lambda s: s.candidate_url("over"),
    "task-time-over": lambda s: s.candidate_url("over", "tasks/leader/"),
    "contests": lambda s: f"{s.url}/contests/",
    "contest": lambda s: f"{s.url}/contests/spring-open/",
    "contest-ahead": lambda s: f"{s.url}/contests/night-shift/",
    "contest-welcome": lambda s: s.candidate_url("contest_invited"),
}
REFUSED_PAGES: dict[str, tuple[int, Callable[[Site], str]]] = {
    "400-cursor": (400, lambda s: s.account_url("sessions/?after=nonsense")),
    "404": (404, lambda s: s.account_url("sessions/NOSUCHCODE22/")),
    "404-invitation": (404, lambda s: s.candidate_url("NOSUCHCODE22")),
}


@pytest.fixture(scope="module", params=WIDTHS)
def width(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def member(browser: Browser, site: Site, width: str) -> Iterator[BrowserContext]:
    """A browser of a person who works in both accounts."""
    context = _context(browser, width)
    page = context.new_page()
    log_in(page, site, "both@example.com")
    page.close()
    yield context
    context.close()


@pytest.fixture(scope="module")
def visitor(browser: Browser, width: str) -> Iterator[BrowserContext]:
    """A browser of somebody who is not logged in."""
    context = _context(browser, width)
    yield context
    context.close()


@pytest.mark.parametrize("name", MEMBER_PAGES)
def test_a_members_page(name: str, member: BrowserContext, site: Site, width: str) -> None:
    look_at(member, MEMBER_PAGES[name](site), f"{name}-{width}")


@pytest.mark.parametrize("name", OPEN_PAGES)
def test_an_open_page(name: str, visitor: BrowserContext, site: Site, width: str) -> None:
    look_at(visitor, OPEN_PAGES[name](site), f"{name}-{width}")


@pytest.mark.parametrize("name", REFUSED_PAGES)
def test_a_refused_page(name: str, member: BrowserContext, site: Site, width: str) -> None:
    status, address = REFUSED_PAGES[name]
    look_at(member, address(site), f"{name}-{width}", status=status)


def fill_login(page: Page, site: Site) -> None:
    page.get_by_label("E-mail address").fill("owner@example.com")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()


def send_unfilled(page: Page, site: Site) -> None:
    page.evaluate("document.querySelector('main form').noValidate = true")
    page.locator("main form button:not([type=button])").first.click()


def check_wrongly(page: Page, site: Site) -> None:
    page.get_by_label("Your program's output for it").fill("5")
    page.get_by_role("button", name="Check").click()


def check_rightly(page: Page, site: Site) -> None:
    page.get_by_label("Your program's output for it").fill("3")
    page.get_by_role("button", name="Check").click()


def hand_in(page: Page, site: Site) -> None:
    page.get_by_label("or paste it here").fill("1\n2\n3")
    page.get_by_role("button", name="Hand in").click()


def open_switcher(page: Page, site: Site) -> None:
    page.locator(".switcher summary").click()


def open_output(page: Page, site: Site) -> None:
    page.locator("details.output summary").first.click()


ACTS: dict[str, tuple[Callable[[Site], str], Callable[[Page, Site], None], str]] = {
    "login-wrong": (OPEN_PAGES["login"], fill_login, "do not belong together"),
    "invite-unfilled": (MEMBER_PAGES["invite"], send_unfilled, "Not sent yet"),
    "csv-unfilled": (MEMBER_PAGES["invite-csv"], send_unfilled, "Not sent yet"),
    "test-unfilled": (MEMBER_PAGES["test-new"], send_unfilled, "Not sent yet"),
    "welcome-unticked": (OPEN_PAGES["welcome"], send_unfilled, "Tick this to begin"),
    "task-wrong": (OPEN_PAGES["task"], check_wrongly, "Wrong"),
    "task-right": (OPEN_PAGES["task"], check_rightly, "Right."),
    "task-handed-in": (OPEN_PAGES["task"], hand_in, "is in."),
    "switcher": (MEMBER_PAGES["dashboard"], open_switcher, "Quarry & Sons"),
    "report-output": (MEMBER_PAGES["report"], open_output, "Download the whole output"),
}


@pytest.mark.parametrize("name", ACTS)
def test_after_an_act(
    name: str, member: BrowserContext, visitor: BrowserContext, site: Site, width: str
) -> None:
    address, act, says = ACTS[name]
    page = (visitor if address in OPEN_PAGES.values() else member).new_page()
    page.goto(address(site))
    act(page, site)
    expect(page.get_by_text(says).first).to_be_visible()
    keep_picture(page, f"{name}-{width}")
    hold_against_rules(page, name)
    page.close()


def look_at(context: BrowserContext, url: str, name: str, *, status: int = 200) -> None:
    """Open a page and hold it against what every page must be."""
    page = context.new_page()
    errors: list[str] = []
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    response = page.goto(url)
    assert response is not None
    assert response.status == status
    keep_picture(page, name)
    assert [error for error in errors if status == 200 or "status of" not in error] == []
    hold_against_rules(page, name)
    page.close()


def hold_against_rules(page: Page, name: str) -> None:
    """One h1, one main, every field labelled, nothing wider than the window."""
    assert page.locator("h1").count() == 1
    assert page.locator("main").count() == 1
    assert unlabelled(page) == []
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0, f"{name} is {wide} px too wide: {too_wide(page)}"


def unlabelled(page: Page) -> list[str]:
    """Fields and buttons that a screen reader has no name for."""
    return list(
        page.evaluate(
            """() => [...document.querySelectorAll("input, select, textarea, button")]
            .filter((e) => e.type !== "hidden" && !(e.labels && e.labels.length)
                && !e.getAttribute("aria-label") && !e.textContent.trim())
            .map((e) => e.outerHTML)"""
        )
    )


def too_wide(page: Page) -> list[str]:
    """What sticks out on the right."""
    return list(
        page.evaluate(
            """() => [...document.querySelectorAll("body *")]
            .filter((e) => e.getBoundingClientRect().right > window.innerWidth + 1)
            .slice(0, 5).map((e) => e.outerHTML.slice(0, 120))"""
        )
    )


def keep_picture(page: Page, name: str) -> None:
    """With SCREENSHOTS set, a picture of the whole page in both colour schemes."""
    if not SCREENSHOTS:
        return
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}-{scheme}.png", full_page=True)


def _context(browser: Browser, width: str) -> BrowserContext:
    across, down = WIDTHS[width]
    return browser.new_context(viewport={"width": across, "height": down})
