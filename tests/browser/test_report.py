"""A report comes by itself: the page asks for a few bytes, and is put in when there is news."""

import json

from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Site, log_in

STATE = "**/state.json"


def test_the_report_comes_by_itself(page: Page, site: Site) -> None:
    """The waiting page of one session is answered with another one's report, when told of it."""
    log_in(page, site)
    closed = page.request.get(site.account_url(f"sessions/{site['judged']}/")).text()
    told = {"status": "finished", "ready": False, "again": 0.2}

    def state(route: Route) -> None:
        headers = {"ETag": str(told["status"])}
        route.fulfill(body=json.dumps(told), content_type="application/json", headers=headers)

    page.route(STATE, state)
    page.goto(site.account_url(f"sessions/{site['waiting']}/"))
    page.evaluate("window.same = true")
    page.route(
        f"**/sessions/{site['waiting']}/",
        lambda route: route.fulfill(body=closed, content_type="text/html"),
    )
    told.update(status="closed", ready=True)
    expect(page.locator(".total")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_text("Judith Judged")
    expect(page.get_by_role("status")).to_contain_text("Test score")
    assert page.evaluate("window.same"), "the page was loaded again"


def test_an_unchanged_state_is_asked_for_more_slowly(page: Page, site: Site) -> None:
    log_in(page, site)
    sent = []
    page.on(
        "response", lambda answer: sent.append(answer.status) if "state.json" in answer.url else 0
    )
    page.clock.install()
    with page.expect_response(STATE):
        page.goto(site.account_url(f"sessions/{site['waiting']}/"))
    for _ in range(6):
        with page.expect_response(STATE):
            page.clock.run_for(30_000)
    assert sent[:7] == [200] + [304] * 6
    assert set(sent[7:]) <= {304}  # a slow machine's clock has run on in between
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(4_000)
    assert asked == []
    expect(page.get_by_role("heading", name="The report is not ready yet")).to_be_visible()
