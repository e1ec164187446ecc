"""The console in a browser: with a monitor and alerts, with a shard away, and with no monitor.

SCREENSHOTS=folder also keeps pictures, in light and in dark.
"""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import SEED, Site, log_in, running
from tests.browser.test_every_page import WIDTHS, hold_against_rules, keep_picture
from tests.unit.site.console_prometheus import Prometheus, alert, certificates, served

STAFF = "staff@example.com"
MAKE_STAFF = f"""
import django; django.setup()
from accounts.models import User
from tests.browser.seed import PASSWORD
User.objects.create_superuser({STAFF!r}, PASSWORD)
"""
SEEDS = [SEED, MAKE_STAFF]
PATIENT = "tests.browser.patient"
RENEWED_MS = 90_000
ALERTS = [
    alert("ShardWithoutPrimary", labels={"shard": "shard03"}, summary="shard03 takes no writes"),
    alert(
        "ReplicaLags",
        "warn",
        labels={"shard": "shard02", "host": "node3", "instance": "node3:8008"},
        summary="the replica of shard02 on node3 is 48.2M bytes behind",
        runbook="ansible/RUNBOOKS.md#replica-lags",
    ),
    alert(
        "PoolerNearlyFull",
        state="pending",
        labels={"host": "pooler1", "instance": "pooler1:9801"},
        summary="process 1 of the pooler on pooler1 has 812 clients",
        runbook="ansible/RUNBOOKS.md#pooler-full",
    ),
]
DATABASES = ("default", "shard01", "shard02", "shard03", "shard04")


@dataclass
class Watched:
    """A site, its monitor, and the folder of its databases."""

    site: Site
    prometheus: Prometheus
    folder: Path


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A site with a monitor."""
    tls = certificates(tmp_path_factory.mktemp("tls"))
    folder = tmp_path_factory.mktemp("watched")
    with served(tls) as prometheus, site_of(folder, prometheus) as site:
        prometheus.series = series
        prometheus.values = lambda second: str(40 + 25 * math.sin(second / 300))
        yield Watched(site, prometheus, folder)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site without a monitor."""
    with site_of(tmp_path_factory.mktemp("alone")) as site:
        yield site


@pytest.fixture(autouse=True)
def as_it_was(request: pytest.FixtureRequest) -> None:
    if "watched" in request.fixturenames:
        prometheus = request.getfixturevalue("watched").prometheus
        prometheus.alerts, prometheus.fault = [], ""


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def series(query: str) -> list[dict[str, str]]:
    return [{"database": name} for name in DATABASES] if "by (database)" in query else [{}]


def site_of(folder: Path, *watching: Prometheus) -> AbstractContextManager[Site]:
    """A site of its own, with people, accounts and staff in it."""
    monitors = [each.monitor for each in watching]
    return running(folder, SEEDS, application=PATIENT, monitors=monitors)


@contextmanager
def opened(browser: Browser, site: Site, width: str = "desktop") -> Iterator[Page]:
    """The console of somebody of the staff, in which nothing goes wrong."""
    across, down = WIDTHS[width]
    context = browser.new_context(viewport={"width": across, "height": down})
    page = context.new_page()
    errors: list[str] = []
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    log_in(page, site, STAFF)
    page.get_by_role("link", name="Console").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Console")
    yield page
    context.close()
    assert errors == []


def hold(page: Page, name: str) -> None:
    """What every page must be, and far enough apart in colour, in both schemes."""
    keep_picture(page, name)
    hold_against_rules(page, name)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert page.evaluate(TOO_FAINT) == [], f"{name} in {scheme}"


# Each text against what is painted behind it: WCAG 2's contrast, 4.5 to 1, or 3 to 1 where large.
TOO_FAINT = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => {
    const linear = (c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = rgb.slice(0, 3).map((c) => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if ((colour[3] ?? 1) > 0.99) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const box = element.getBoundingClientRect();
    if (!texts.currentNode.textContent.trim() || box.width < 2 || box.bottom < 0) continue;
    const style = getComputedStyle(element);
    const pair = [light(numbers(style.color)), light(ground(element))].sort((a, b) => a - b);
    const size = parseFloat(style.fontSize), bold = style.fontWeight >= 700;
    const least = size >= 24 || (bold && size >= 18.66) ? 3 : 4.5;
    const ratio = (pair[1] + 0.05) / (pair[0] + 0.05);
    if (ratio < least) found.push(`${ratio.toFixed(2)}: ${texts.currentNode.textContent.trim()}`);
  }
  return found;
}"""


def test_with_a_monitor_and_alerts(browser: Browser, watched: Watched, width: str) -> None:
    watched.prometheus.alerts = ALERTS
    with opened(browser, watched.site, width) as page:
        first = page.locator(".alert").first
        expect(first).to_contain_text("shard03 takes no writes", timeout=RENEWED_MS)
        expect(page.locator(".alert")).to_have_count(3)
        expect(page.locator(".charts .spark")).to_have_count(6, timeout=RENEWED_MS)
        expect(page.get_by_role("heading", name="Largest")).to_be_visible(timeout=RENEWED_MS)
        hold(page, f"console-alerts-{width}")


def test_all_is_well(browser: Browser, watched: Watched) -> None:
    with opened(browser, watched.site) as page:
        expect(page.locator(".verdict")).to_contain_text("All is well", timeout=RENEWED_MS)
        hold(page, "console-well")


def test_without_a_monitor(browser: Browser, alone: Site, width: str) -> None:
    with opened(browser, alone, width) as page:
        expect(page.get_by_text("Nobody watches this cluster")).to_be_visible()
        expect(page.locator(".databases tbody tr")).to_have_count(5)
        hold(page, f"console-alone-{width}")


@contextmanager
def away(folder: Path, shard: str) -> Iterator[None]:
    """The shard's file cannot be opened: a folder has its name."""
    file, kept = folder / f"{shard}.sqlite3", folder / f"{shard}.kept"
    file.rename(kept)
    file.mkdir()
    try:
        yield
    finally:
        file.rmdir()
        kept.rename(file)


def test_a_shard_and_the_monitor_away(browser: Browser, watched: Watched, width: str) -> None:
    watched.prometheus.fault = "html"
    with away(watched.folder, "shard03"), opened(browser, watched.site, width) as page:
        expect(page.locator(".databases .tag")).to_have_text("away", timeout=RENEWED_MS)
        expect(page.locator(".databases tr.away")).to_contain_text("shard03")
        expect(page.locator(".verdict")).to_contain_text("3 of 4 shards answer")
        expect(page.get_by_text("No monitor answers")).to_be_visible(timeout=RENEWED_MS)
        hold(page, f"console-away-{width}")


def test_it_keeps_itself_new_and_the_focus_where_it_is(browser: Browser, watched: Watched) -> None:
    watched.prometheus.alerts = ALERTS[1:2]
    with opened(browser, watched.site) as page:
        page.evaluate("window.loadedOnce = true")
        link = page.get_by_role("link", name="Runbook for ReplicaLags")
        expect(link).to_be_visible(timeout=RENEWED_MS)
        link.focus()
        watched.prometheus.fault = "html"
        silence = page.get_by_text("No monitor answers")
        expect(silence).to_be_visible(timeout=RENEWED_MS)
        expect(link).to_be_focused()
        watched.prometheus.alerts, watched.prometheus.fault = ALERTS, ""
        expect(page.locator(".alert")).to_have_count(3, timeout=RENEWED_MS)
        expect(silence).to_be_hidden()
        expect(link).to_be_focused()
        expect(page.locator("[data-said]")).to_contain_text("2 firing, 1 pending")
        assert page.evaluate("window.loadedOnce"), "no reload"
        page.keyboard.press("Enter")
        expect(page.locator("#replica-lags")).to_be_in_viewport()
        hold(page, "console-runbooks")


def test_the_focus_stays_in_a_section_that_has_lost_its_links(
    browser: Browser, watched: Watched
) -> None:
    watched.prometheus.alerts = ALERTS[1:2]
    with opened(browser, watched.site) as page:
        link = page.get_by_role("link", name="Runbook for ReplicaLags")
        expect(link).to_be_visible(timeout=RENEWED_MS)
        link.focus()
        alerts = page.locator("[data-section=alerts]")
        for found in ([], ALERTS):
            watched.prometheus.alerts = found
            expect(page.locator(".alert")).to_have_count(len(found), timeout=RENEWED_MS)
            expect(alerts).to_be_focused()
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Runbook for ShardWithoutPrimary")).to_be_focused()


def test_it_says_when_it_is_not_new_any_more(browser: Browser, watched: Watched) -> None:
    across, down = WIDTHS["desktop"]
    context = browser.new_context(viewport={"width": across, "height": down})
    page = context.new_page()
    log_in(page, watched.site, STAFF)
    page.goto(f"{watched.site.url}/console/")
    stale = page.locator("[data-stale]")
    expect(stale).to_be_hidden()
    context.set_offline(True)
    expect(stale).to_contain_text("not new any more", timeout=RENEWED_MS)
    context.set_offline(False)
    expect(stale).to_be_hidden(timeout=RENEWED_MS)
    context.clear_cookies()
    expect(stale).to_contain_text("not logged in", timeout=RENEWED_MS)
    context.close()
