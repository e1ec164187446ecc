"""Whole ways through the site, as people go them."""

import re
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, expect

from tasks import library
from tests.browser.conftest import Site, log_in


def test_from_invitation_to_a_full_report(
    page: Page, browser: Browser, site: Site, tmp_path: Path
) -> None:
    log_in(page, site)
    expect(page.get_by_role("heading", level=1)).to_have_text("Harbour Freight")
    link = invite(page, "Nadia Novak", "nadia@example.com")
    candidate = browser.new_context(accept_downloads=True).new_page()
    sit_the_test(candidate, link, tmp_path)
    candidate.context.close()
    page.get_by_role("link", name="Sessions", exact=True).click()
    page.get_by_role("link", name="Nadia Novak").click()
    expect(page.locator(".total .figure")).to_have_text("100%")
    expect(page.get_by_text("300 out of 300 points")).to_be_visible()


def invite(page: Page, name: str, email: str) -> str:
    """Invite by the form; returns the link to send."""
    page.get_by_role("link", name="Invite", exact=True).click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Test").select_option(label="Backend engineer")
    page.get_by_role("button", name="Invite").click()
    expect(page.get_by_text(f"{name} is invited to Backend engineer")).to_be_visible()
    return str(page.locator(".full-link a").text_content())


def sit_the_test(page: Page, link: str, folder: Path) -> None:
    """Accept, try an example, hand in right outputs by both ways, finish."""
    page.goto(link)
    page.get_by_label("The country you are in").select_option(label="Poland")
    page.get_by_label("I have read the rules").check()
    page.get_by_role("button", name="Accept and start").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your tasks")
    expect(page.get_by_role("timer")).to_have_text(re.compile(r"^(1:00:00|59:\d\d)$"))
    code = link.rstrip("/").rsplit("/", 1)[-1]
    check_the_example(page)
    hand_in_by_file(page, "equilibrium-index", code, folder)
    for slug in ("leader", "ways-to-pay"):
        hand_in_by_paste(page, slug, code)
    page.get_by_role("link", name="Finish the test").click()
    expect(page.get_by_text("an output for every task")).to_be_visible()
    page.get_by_role("button", name="Yes, finish").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Thank you, Nadia Novak")


def open_task(page: Page, slug: str) -> None:
    page.get_by_role("link", name=library.get(slug).title).click()


def check_the_example(page: Page) -> None:
    open_task(page, "equilibrium-index")
    page.get_by_label("Your program's output for it").fill("1")
    page.get_by_role("button", name="Check").click()
    expect(page.locator("#checked")).to_contain_text("Wrong")
    page.get_by_label("Your program's output for it").fill("3")
    page.get_by_role("button", name="Check").click()
    expect(page.locator("#checked")).to_have_text("Right.")
    page.get_by_role("link", name="All tasks").click()


def hand_in_by_file(page: Page, slug: str, code: str, folder: Path) -> None:
    """The input is downloaded, and the output made from it is uploaded."""
    open_task(page, slug)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download input.txt").click()
    problem = library.get(slug)
    assert Path(download.value.path()).read_text() == library.input_file(problem, code)
    output = folder / "output.txt"
    output.write_text(library.solution_file(problem, code))
    page.get_by_label("Output file").set_input_files(output)
    finish_hand_in(page, problem.title)


def hand_in_by_paste(page: Page, slug: str, code: str) -> None:
    open_task(page, slug)
    problem = library.get(slug)
    page.get_by_label("or paste it here").fill(library.solution_file(problem, code))
    finish_hand_in(page, problem.title)


def finish_hand_in(page: Page, title: str) -> None:
    page.get_by_role("button", name="Hand in").click()
    expect(page.get_by_text(f"Your output for {title} is in.")).to_be_visible()
    page.get_by_role("link", name="All tasks").click()


def test_a_csv_file_with_good_and_bad_rows(page: Page, site: Site, tmp_path: Path) -> None:
    people = tmp_path / "people.csv"
    people.write_text("\ufeffemail;name\nzoe@example.com;Zoe Zimmer\nnot-an-address;Nobody\n")
    log_in(page, site)
    page.goto(site.account_url("invite/csv/"))
    page.get_by_label("CSV file").set_input_files(people)
    page.get_by_label("Invite to").select_option(label="Data engineer")
    page.get_by_role("button", name="Upload").click()
    rejected = page.get_by_role("row").filter(has_text="not-an-address")
    expect(rejected.get_by_role("rowheader")).to_have_text("3")
    keep(page, "csv-result")
    page.get_by_role("link", name="To the sessions").click()
    expect(page.get_by_role("link", name="Zoe Zimmer", exact=True)).to_be_visible()


def test_a_new_test_from_the_library(page: Page, site: Site) -> None:
    """The buttons number the tasks in the order in which they are added."""
    log_in(page, site)
    page.goto(site.account_url("tests/new/"))
    page.get_by_label("Name").fill("Chosen by hand")
    for slug in ("leader", "ways-to-pay", "equilibrium-index"):
        page.get_by_role("button", name=f"Add {library.get(slug).title}").click()
    page.get_by_role("button", name=f"Remove {library.get('ways-to-pay').title}").click()
    expect(page.locator("[data-sum]")).to_contain_text("2 tasks")
    page.get_by_role("button", name="Make the test").click()
    made = page.locator(".tests li.panel").filter(has_text="Chosen by hand")
    expect(made.get_by_role("listitem")).to_have_text(
        [re.compile(library.get(slug).title) for slug in ("leader", "equilibrium-index")]
    )


def test_the_keyboard_alone_logs_in(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/login/")
    expect(page.get_by_label("E-mail address")).to_be_focused()
    page.keyboard.type("owner@example.com")
    page.keyboard.press("Tab")
    page.keyboard.type(site["password"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Harbour Freight")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_a_test_link_is_copied(context: BrowserContext, site: Site) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    log_in(page, site)
    page.goto(site.account_url("sessions/?q=ivo"))
    page.get_by_role("button", name="Copy the test link of Ivo Invited").click()
    expect(page.get_by_role("button", name="Copy the test link")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == site.candidate_url("invited")


def test_the_site_works_without_scripts(browser: Browser, site: Site) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    log_in(page, site)
    page.goto(site.account_url("sessions/?q=ivo"))
    page.get_by_role("link", name="Open the test link of Ivo Invited").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Welcome, Ivo Invited")
    page.goto(site.candidate_url("open"))
    expect(page.get_by_role("timer")).to_have_text(re.compile(r"\d\d?:\d\d"))
    context.close()


def test_pages_of_the_table_by_its_buttons(page: Page, site: Site) -> None:
    log_in(page, site)
    page.goto(site.account_url("sessions/"))
    page.get_by_role("link", name="Result", exact=True).click()
    expect(page.get_by_role("columnheader", name="Result")).to_have_attribute(
        "aria-sort", "descending"
    )
    codes = page.locator("tbody code").all_text_contents()
    page.get_by_role("link", name="Next page").click()
    page.wait_for_url(re.compile("after="))
    assert not set(codes) & set(page.locator("tbody code").all_text_contents())
    page.get_by_role("link", name="Previous page").click()
    page.wait_for_url(re.compile("before="))
    assert page.locator("tbody code").all_text_contents() == codes


def test_the_countdown_counts(page: Page, site: Site) -> None:
    page.goto(site.candidate_url("open"))
    timer = page.get_by_role("timer")
    before = str(timer.text_content())
    expect(timer).not_to_have_text(before)


def keep(page: Page, name: str) -> None:
    """A picture of a page that only a journey reaches, at both widths."""
    from tests.browser.test_every_page import WIDTHS, keep_picture

    for width, (across, down) in WIDTHS.items():
        page.set_viewport_size({"width": across, "height": down})
        keep_picture(page, f"{name}-{width}")
