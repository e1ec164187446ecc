"""A contest's page keeps its board new without being loaded again."""

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Site

BOARD = "**/contests/spring-open/board/"
MINUTE = 60_000


@pytest.fixture
def board(page: Page, site: Site) -> Page:
    """The page, with a clock that the test moves."""
    page.clock.install()
    page.goto(f"{site.url}/contests/spring-open/")
    expect(page.get_by_role("row")).not_to_have_count(0)
    return page


def test_a_new_board_is_put_in_and_its_leader_is_said(board: Page) -> None:
    row = "<tr role=row><th role=rowheader scope=row>Zoe Z.</th></tr>"
    html = f"<section><table role=table><tbody>{row}</tbody></table></section>"
    board.route(BOARD, lambda route: route.fulfill(body=html, content_type="text/html"))
    board.clock.run_for(MINUTE)
    expect(board.get_by_role("rowheader", name="Zoe Z.")).to_be_visible()
    expect(board.get_by_role("row")).to_have_count(1)
    expect(board.locator("[data-said]")).to_have_text("Leading: Zoe Z.")


def test_an_unchanged_board_is_left_alone_and_asked_for_more_slowly(board: Page) -> None:
    same = board.locator("[data-board]").inner_html()
    board.route(BOARD, lambda route: route.fulfill(body=same, content_type="text/html"))
    board.evaluate("document.querySelector('tbody tr').dataset.same = 'yes'")
    for _ in range(8):
        with board.expect_response(BOARD):
            board.clock.run_for(MINUTE)
    expect(board.locator("[data-same]")).to_have_count(1)
    asked: list[str] = []
    board.on("request", lambda request: asked.append(request.url))
    board.clock.run_for(MINUTE / 3)
    assert asked == []


def test_a_site_that_does_not_answer_is_told(board: Page) -> None:
    board.route(BOARD, lambda route: route.abort())
    board.clock.run_for(MINUTE)
    expect(board.locator("[data-stale]")).to_contain_text("cannot be reached")
    board.unroute(BOARD)
    board.clock.run_for(2 * MINUTE)
    expect(board.locator("[data-stale]")).to_be_hidden()


def test_it_waits_for_a_board_that_is_being_counted(page: Page, site: Site) -> None:
    counted = "<section><p>Counted.</p></section>"
    answers = [{"status": 202, "headers": {"Retry-After": "1"}}, {"status": 200, "body": counted}]
    page.clock.install()
    html = f"""<h1>Spring</h1><div data-board="{site.url}/contests/spring-open/board/"></div>
        <p data-stale hidden></p><p data-said></p>
        <script type="module" src="{site.url}/static/js/board.js"></script>"""
    page.route(
        "**/contests/spring-open/",
        lambda route: route.fulfill(body=html, content_type="text/html"),
    )
    page.route(BOARD, lambda route: route.fulfill(**answers.pop(0)))  # type: ignore[arg-type]
    page.goto(f"{site.url}/contests/spring-open/")
    for _ in range(2):
        with page.expect_response(BOARD):
            page.clock.run_for(10_000)
    expect(page.get_by_text("Counted.")).to_be_visible()
    assert answers == []


def test_a_board_without_scripts(context: BrowserContext, site: Site) -> None:
    response = context.request.get(f"{site.url}/contests/spring-open/")
    assert "Ada M." in response.text()
    assert "ada.marsh@" not in response.text()
