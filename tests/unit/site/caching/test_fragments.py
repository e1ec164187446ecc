"""Fragments are kept, and are never wrong."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from caching.counts import outcomes, tallies
from caching.moments import reading
from routers import account_atomic, account_context, shard_of
from tests.unit.site.caching.fragment_support import (
    END,
    TITLES,
    Visitor,
    engine,
    is_hit,
    outcome,
    page,
    request_of,
    rows,
    show,
)
from tests.unit.site.caching.redis_server import RedisServer
from tests.unit.site.caching.shelf.models import Book, Publisher
from tests.unit.site.caching.support import ELSEWHERE, ONE, TWO, elsewhere
from tests.unit.site.caching.test_round_trips import commands


@pytest.fixture
def shelf(cached: RedisServer, settings: Any) -> Any:
    settings.CACHING = {**settings.CACHING, "STRICT": True}
    with account_context(ONE):
        Book.objects.create(title="a")
        show(TITLES)  # the token
        yield cached


def test_it_is_kept_and_asks_the_database_nothing(shelf: RedisServer) -> None:
    assert outcome(lambda: show(TITLES)) == ["miss"]
    with CaptureQueriesContext(connections[shard_of(ONE)]) as queries:
        assert outcome(lambda: show(TITLES)) == ["hit"]
    assert not queries.captured_queries
    assert show(TITLES) == "a"


def test_a_commit_elsewhere_is_seen(shelf: RedisServer) -> None:
    show(TITLES)
    elsewhere(lambda: Book.objects.create(title="b"))
    assert show(TITLES) == "ab"
    assert outcome(lambda: show(TITLES)) == ["miss"]
    assert is_hit(TITLES)
    assert show(TITLES) == "ab"


@pytest.mark.parametrize("late", [False, True])
def test_what_the_view_has_read_before_a_commit_is_not_kept(shelf: RedisServer, late: bool) -> None:
    """The rows are old, and the token is new: even when others have seen the new one since."""
    with reading():
        seen = list(rows())
        elsewhere(lambda: Book.objects.create(title="b"))
        if late:
            elsewhere(lambda: show(TITLES))
        assert page(TITLES, rows=seen) == "a"
    assert show(TITLES) == "ab"


def test_a_commit_while_it_is_made(shelf: RedisServer) -> None:
    class Row:
        @property
        def title(self) -> str:
            elsewhere(lambda: Book.objects.create(title="b"))
            return "old"

    with reading():
        assert page(TITLES, rows=[Row()]) == "old"
    assert show(TITLES) == "ab"


def test_of_work_whose_beginning_nobody_knows_nothing_is_kept(shelf: RedisServer) -> None:
    assert outcome(lambda: page(TITLES, rows=rows())) == ["busy"]


def test_inside_a_transaction_nothing_is_kept(shelf: RedisServer) -> None:
    with account_atomic():
        assert outcome(lambda: show(TITLES)) == []
    assert outcome(lambda: show(TITLES)) == ["miss"]
    with account_atomic():
        assert is_hit(TITLES)
        Book.objects.create(title="b")
        assert show(TITLES) == "ab"
    assert show(TITLES) == "ab"


def test_a_form_keeps_nothing(shelf: RedisServer) -> None:
    assert outcome(lambda: show(TITLES, request_of(method="POST"))) == ["busy"]
    assert not is_hit(TITLES, request_of())
    assert is_hit(TITLES, request_of(method="POST"))


def test_accounts_are_apart(shelf: RedisServer) -> None:
    for account in (ONE, TWO, ELSEWHERE):
        with account_context(account):
            Book.objects.create(title=str(account))
            show(TITLES)
            show(TITLES)
    for account in (TWO, ELSEWHERE):
        with account_context(account):
            assert is_hit(TITLES)
            assert show(TITLES) == str(account)


APART: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "language": (lambda: translation.override("en"), lambda: translation.override("de")),
    "time zone": (lambda: timezone.override("UTC"), lambda: timezone.override("Asia/Tokyo")),
}


@pytest.mark.parametrize("case", APART)
def test_the_language_and_the_time_zone_are_in_the_key(shelf: RedisServer, case: str) -> None:
    one, other = APART[case]
    with one():
        show(TITLES)
        assert is_hit(TITLES)
    with other():
        assert not is_hit(TITLES)
        assert is_hit(TITLES)


def test_each_visitor_has_one_of_their_own_where_nothing_is_said(shelf: RedisServer) -> None:
    ann, bob = request_of(Visitor(1, "ann@example.com")), request_of(Visitor(2, "bob@example.com"))
    show(TITLES, ann)
    assert is_hit(TITLES, ann)
    assert not is_hit(TITLES, bob)
    for_all = TITLES.replace("uses", 'for="everyone" uses')
    show(for_all, ann)
    assert is_hit(for_all, bob)


def test_in_production_what_is_a_visitors_is_shown_to_that_visitor(
    shelf: RedisServer, settings: Any
) -> None:
    settings.CACHING = {**settings.CACHING, "STRICT": False}
    text = '{% fragments %}{% fragment "f" for="everyone" %}{% fragment "g" for="everyone" %}'
    text += "{{ user.email }}" + END + END + "{% endfragments %}"
    for email in 3 * ("ann@example.com", "bob@example.com"):
        assert show(text, request_of(Visitor(1, email))) == email
    with shelf.client as client:
        assert not list(client.scan_iter(match=f"*{{a{ONE}}}:????????????*"))


def test_a_role_in_the_key_can_be_read(shelf: RedisServer) -> None:
    text = '{% fragment "f" for=user.is_staff %}{% if user.is_staff %}all{% else %}some{% endif %}'
    boss, ann = Visitor(1, "boss@example.com"), Visitor(2, "ann@example.com")
    boss.is_staff = True
    assert show(text + END, request_of(boss)) == "all"
    assert show(text + END, request_of(ann)) == "some"
    assert is_hit(text + END, request_of(Visitor(3, "bob@example.com")))
    assert show(text + END, request_of(Visitor(3, "bob@example.com"))) == "some"


CHANGED: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "its own": ({"page__html": TITLES}, {"page__html": TITLES.replace("}{{", "}!{{")}),
    "an included one": (
        {"page__html": '{% fragment "f" %}{% include "in.html" %}' + END, "in__html": "1"},
        {"page__html": '{% fragment "f" %}{% include "in.html" %}' + END, "in__html": "2"},
    ),
    "one that an included one extends": (
        {
            "page__html": '{% fragment "f" %}{% include "in.html" %}' + END,
            "in__html": '{% extends "base.html" %}',
            "base__html": "1",
        },
        {
            "page__html": '{% fragment "f" %}{% include "in.html" %}' + END,
            "in__html": '{% extends "base.html" %}',
            "base__html": "2",
        },
    ),
    "what fills a block": (
        {
            "base__html": '{% fragment "f" %}{% block main %}0{% endblock %}' + END,
            "page__html": '{% extends "base.html" %}{% block main %}1{% endblock %}',
        },
        {
            "base__html": '{% fragment "f" %}{% block main %}0{% endblock %}' + END,
            "page__html": '{% extends "base.html" %}{% block main %}2{% endblock %}',
        },
    ),
}


@pytest.mark.parametrize("case", CHANGED)
def test_another_template_is_another_fragment(shelf: RedisServer, case: str) -> None:
    before, after = (with_load_first(parts) for parts in CHANGED[case])

    def shown(parts: Any) -> str:
        with reading():
            from django.template import Context

            found = parts.get_template("page.html").render(Context({"rows": rows()}))
            return str(found)

    first = shown(before)
    assert outcome(lambda: shown(before)) == ["hit"]
    assert outcome(lambda: shown(after)) == ["miss"]
    assert shown(after) != first
    assert shown(before) == first


def with_load_first(parts: dict[str, str]) -> Any:
    """`{% extends %}` has to come first, so the library is built in."""
    held = engine()
    builtins = [*held.builtins, "caching.templatetags.fragments"]
    texts = {name.replace("__", "."): text for name, text in parts.items()}
    loaders = [("django.template.loaders.locmem.Loader", texts)]
    return type(held)(loaders=loaders, builtins=builtins)


def test_tables_of_the_catalog(shelf: RedisServer) -> None:
    text = '{% fragment "f" uses="names" tables="shelf_publisher" %}{{ names|join:"," }}' + END

    def shown() -> str:
        with reading():
            names = Publisher.objects.no_cache().values_list("name", flat=True).order_by("name")
            return page(text, names=names)

    Publisher.objects.create(name="a")
    for _ in range(3):
        assert shown() == "a"
    assert outcome(shown) == ["hit"]
    elsewhere(lambda: Publisher.objects.create(name="b"))
    for _ in range(3):
        assert shown() == "a,b"
    assert outcome(shown) == ["hit"]
    Book.objects.create(title="b")
    assert outcome(shown) != ["hit"]


LAST = '{% fragment "row" row.pk row.title lasting %}{{ row.title }}' + END
TABLE = '{% fragment "f" uses="rows" %}<{% for row in rows %}' + LAST + "{% endfor %}>" + END


def test_an_outer_one_is_put_together_from_inner_ones_that_last(shelf: RedisServer) -> None:
    Book.objects.create(title="b")
    show(TABLE)
    assert show(TABLE) == "<ab>"
    Book.objects.filter(title="b").update(title="c")
    counted: dict[str, int] = {}

    def again() -> None:
        assert show(TABLE) == "<ac>"
        counted.update({what: n for (name, what), n in outcomes.items() if name == "fragment row"})

    outcome(again)
    assert counted == {"hit": 1, "miss": 1}
    show(TABLE)
    assert is_hit(TABLE)


def test_what_lasts_is_not_kept_from_within_a_transaction(shelf: RedisServer) -> None:
    def shown() -> None:
        with reading():
            assert page(LAST, row=Book(pk=7, title="seven")) == "seven"

    with account_atomic():
        outcome(shown, "row")
        Book.objects.update(title="b")
        outcome(shown, "row")
    assert outcome(shown, "row") == ["miss"]
    assert outcome(shown, "row") == ["hit"]


def test_a_hit_evaluates_no_query(shelf: RedisServer) -> None:
    show(TITLES)
    asked = rows()
    with reading():
        assert page(TITLES, rows=asked) == "a"
    assert asked._result_cache is None


def test_redis_is_away(shelf: RedisServer) -> None:
    show(TITLES)
    shelf.kill()
    try:
        assert outcome(lambda: show(TITLES)) == ["away"]
        assert show(TITLES) == "a"
    finally:
        shelf.start()


def test_everything_is_lost(shelf: RedisServer) -> None:
    show(TITLES)
    with shelf.client as client:
        client.flushall()
    elsewhere(lambda: Book.objects.create(title="b"))
    for _ in range(4):
        assert show(TITLES) == "ab"
    assert is_hit(TITLES)


def test_another_ones_bytes_are_not_shown(shelf: RedisServer) -> None:
    show(TITLES)
    with shelf.client as client:
        key = next(iter(client.scan_iter(match=f"*{{a{ONE}}}:????????????*")))
        kept = client.get(key)
        client.set(key, kept[:-3] + b"xyz")
    assert not is_hit(TITLES)


def test_seconds_bound_the_outer_one_too(shelf: RedisServer) -> None:
    inner = '{% fragment "g" seconds=7 %}x' + END
    show('{% fragment "f" seconds=70 %}' + inner + END)
    with shelf.client as client:
        lives = [client.ttl(key) for key in client.scan_iter(match=f"*{{a{ONE}}}:????????????*")]
    assert lives
    assert all(0 < life <= 7 for life in lives if life < 3000)
    assert len([life for life in lives if life <= 7]) == 2


def test_the_time_it_takes_is_told(shelf: RedisServer) -> None:
    show(TITLES)
    show(TITLES)
    told = tallies()
    assert told["fragment f", "computed"].timed >= 1
    assert told["fragment f", "hit"].timed >= 1
    assert told["fragment f", "hit"].size > 0


PAGE_OF_20 = "{% fragments %}" + "{% for n in numbers %}" + TITLES.replace(" uses", " n uses")
PAGE_OF_20 += "{% endfor %}{% endfragments %}"


def test_a_page_of_twenty_is_one_round_trip(shelf: RedisServer) -> None:
    def shown() -> str:
        return show(PAGE_OF_20, numbers=range(20))

    with shelf.client as client:
        client.script_flush()
    assert commands(shelf, shown) == ["MGET", "EVALSHA", "EVAL"]  # the script is sent once
    assert shown() == 20 * "a"
    assert commands(shelf, shown) == ["MGET"]


def test_nested_ones_are_one_round_trip_each_deeper(shelf: RedisServer) -> None:
    Book.objects.create(title="b")
    text = "{% fragments %}" + TABLE + "{% endfragments %}"
    show(text)
    assert commands(shelf, lambda: show(text)) == ["MGET", "MGET", "EVALSHA"]
    assert commands(shelf, lambda: show(text)) == ["MGET"]
    Book.objects.filter(title="b").update(title="c")
    assert commands(shelf, lambda: show(text)) == ["MGET", "MGET", "EVALSHA"]


def test_one_alone_is_one_round_trip(shelf: RedisServer) -> None:
    show(TITLES)
    assert commands(shelf, lambda: show(TITLES)) == ["MGET"]
