"""The front page's map: a start is seen without loading the page again; it can be stopped.

SCREENSHOTS=folder also keeps pictures.
"""

import json
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import Site
from tests.browser.test_every_page import WIDTHS, hold_against_rules, keep_picture

FEED = "**/starts.json"
PLACES = [("Poland", 402, 63.6), ("Brazil", 295, 176), ("Japan", 639, 97), ("Kenya", 434, 170)]


def told(number: int, total: int) -> dict[str, Any]:
    """A feed of so many starts."""
    starts = [
        {"key": f"{key}-0", "at": 1_790_000_000 + key, "name": name, "x": x, "y": y}
        for key, (name, x, y) in enumerate(PLACES[:number])
    ]
    return {"total": total, "missing": [], "starts": starts[::-1]}


class Feed:
    """What the page is told, once: then, that nothing has changed, so that what is new stays so."""

    def __init__(self, page: Page) -> None:
        self.now, self.asked, self.is_away = told(1, 1234), 0, False
        page.route(FEED, self.answer)

    def answer(self, route: Route) -> None:
        self.asked += 1
        etag = f'"{self.now["total"]}"'
        if self.is_away:
            route.abort()
        elif route.request.headers.get("if-none-match") == etag:
            route.fulfill(status=304)
        else:
            body, headers = json.dumps(self.now), {"ETag": etag}
            route.fulfill(body=body, content_type="application/json", headers=headers)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_start_appears_on_the_map(browser: Browser, site: Site, width: str) -> None:
    across, down = WIDTHS[width]
    context = browser.new_context(viewport={"width": across, "height": down})
    page = context.new_page()
    feed = Feed(page)
    page.goto(site.url)
    expect(page.locator("[data-total]")).to_have_text("1,234")
    expect(page.locator(".dot")).to_have_count(1)
    expect(page.locator(".dot.new")).to_have_count(0)  # it was there before
    feed.now = told(3, 1236)
    expect(page.locator(".dot.new")).to_have_count(2)
    expect(page.locator("[data-total]")).to_have_text("1,236")
    expect(page.locator(".starts li").first).to_contain_text("A test session started in Japan")
    keep_picture(page, f"front-live-{width}")
    hold_against_rules(page, "front")
    context.close()


def test_a_real_start_comes_all_the_way(browser: Browser, page: Page, site: Site) -> None:
    page.goto(site.url)
    before = int(str(page.locator("[data-total]").text_content()).replace(",", ""))
    candidate = browser.new_context().new_page()
    candidate.goto(site.candidate_url("to_start"))
    candidate.get_by_label("The country you are in").select_option(label="Poland")
    candidate.get_by_label("I have read the rules").check()
    candidate.get_by_role("button", name="Accept and start").click()
    expect(candidate.get_by_role("heading", level=1)).to_have_text("Your tasks")
    candidate.context.close()
    expect(page.locator(".starts li").first).to_contain_text("Poland")
    expect(page.locator("[data-total]")).not_to_have_text(f"{before:,}")


def test_it_can_be_stopped_by_the_keyboard(page: Page, site: Site) -> None:
    feed = Feed(page)
    page.goto(site.url)
    pause = page.get_by_role("button", name="Pause")
    expect(page.locator(".dot")).to_have_count(1)
    pause.focus()
    page.keyboard.press("Space")
    expect(pause).to_have_attribute("aria-pressed", "true")
    feed.now = told(4, 1238)
    asked = feed.asked
    page.keyboard.press("Enter")
    expect(pause).to_have_attribute("aria-pressed", "false")
    expect(page.locator(".dot")).to_have_count(4)
    assert feed.asked > asked


def test_nothing_moves_for_whoever_does_not_want_it(browser: Browser, site: Site) -> None:
    animations = {}
    for wish in ("reduce", "no-preference"):
        context = browser.new_context(reduced_motion=wish)  # type: ignore[arg-type]
        page = context.new_page()
        feed = Feed(page)
        page.goto(site.url)
        expect(page.locator(".dot")).to_have_count(1)
        feed.now = told(2, 1235)
        dot = page.locator(".dot.new")
        expect(dot).to_have_count(1)
        animations[wish] = dot.evaluate("dot => getComputedStyle(dot).animationName")
        context.close()
    assert animations == {"reduce": "none", "no-preference": "land"}


def test_a_site_that_does_not_answer_is_told(page: Page, site: Site) -> None:
    feed = Feed(page)
    feed.is_away = True
    page.goto(site.url)
    expect(page.locator("[data-stale]")).to_contain_text("cannot be reached")
    feed.is_away = False
    expect(page.locator("[data-stale]")).to_be_hidden(timeout=90_000)
    expect(page.locator(".dot")).to_have_count(1)
