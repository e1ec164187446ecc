"""Fragments leave a page's HTML as it is: none of these needs a server."""

from typing import Any

import pytest
from django.utils import timezone, translation
from django.utils.safestring import SafeString

from caching import fragment_page
from routers import account_context
from tests.unit.site.caching.fragment_support import engine, page, request_of
from tests.unit.site.caching.support import ONE

ROW = '{% fragment "row" n=forloop.counter forloop.last one %}'
END = "{% endfragment %}"

# Name → template with fragments; without them it has to be the same.
PAGES = {
    "autoescape": '{% fragment "f" bad %}{{ bad }}{% endfragment %}',
    "autoescape off": '{% autoescape off %}{% fragment "f" bad %}{{ bad }}{% endfragment %}'
    "{% endautoescape %}",
    "safe": '{% fragment "f" good %}{{ good }}{% endfragment %}',
    "a loop": "{% for one in rows %}" + ROW + "{{ n }}{{ one }}"
    "{% if not forloop.last %},{% endif %}" + END + "{% endfor %}",
    "a loop within": '{% fragment "f" uses="rows" %}{% for one in rows %}{{ forloop.counter }}'
    "{{ one }}{% endfor %}{% endfragment %}",
    "two loops": "{% for a in rows %}{% for one in rows %}"
    '{% fragment "f" forloop.parentloop.counter one %}{{ forloop.parentloop.counter }}{{ one }}'
    "{% endfragment %}{% endfor %}{% endfor %}",
    "an include": '{% fragment "f" word %}{% include "part.html" with more="m" %}{% endfragment %}',
    "only": '{% fragment "f" word %}{% include "part.html" with more="m" only %}{% endfragment %}',
    "in an include": '{% for one in rows %}{% include "row.html" %}{% endfor %}',
    "nested": '{% fragment "a" uses="rows" word %}<{% for one in rows %}{% fragment "b" one %}'
    "{{ one }}{% endfragment %}{% endfor %}{{ word }}>{% endfragment %}",
    "not there": '-{% fragment "f" %}{{ nothing }}{% if nothing %}x{% endif %}{% endfragment %}',
    "translated": '{% fragment "f" %}{% translate "Monday" %}{% endfragment %}{% language "de" %}'
    '{% fragment "f" %}{% translate "Monday" %}{% endfragment %}{% endlanguage %}',
    "a filter around": '{% filter upper %}{% fragment "f" word %}<b>{{ word }}</b>{% endfragment %}'
    "{% endfilter %}",
    "spaceless around": "{% spaceless %}<p> {% fragment 'f' %}<b>x</b> <b>y</b>{% endfragment %} "
    "</p>{% endspaceless %}",
    "a filter within": '{% fragment "f" word %}{% filter upper %}{% fragment "g" word %}<b>'
    "{{ word }}</b>{% endfragment %}{% endfilter %}{% endfragment %}",
    "with": "{% with other=word %}{% fragment 'f' other %}{{ other }}{% endfragment %}"
    "{% endwith %}",
    "cycle outside": "{% for one in rows %}{% cycle 'a' 'b' as odd %}"
    '{% fragment "f" odd %}{{ odd }}{% endfragment %}{% endfor %}',
    "block": '{% extends "base.html" %}{% block main %}{{ block.super }}-{{ word }}{% endblock %}',
    "a part": '{% fragment "f" word|upper same=word|upper %}{{ same }}{% endfragment %}',
    "discarded": '{% firstof word one %}{% fragment "f" %}{% endfragment %}',
}
PARTS = {
    "part__html": "{{ word }}{{ more }}",
    "row__html": '<{% fragment "r" one %}{{ one }}{% endfragment %}>',
    "base__html": '<p>{% fragment "base" word %}{% block main %}{{ word }}{% endblock %}'
    "{% endfragment %}</p>",
}
VALUES: dict[str, Any] = {
    "bad": "<&>",
    "good": SafeString("<b>"),
    "rows": ["x", "y", "z"],
    "word": "word",
}


@pytest.fixture
def strict(settings: Any) -> None:
    settings.CACHING = {"ENABLED": False, "STRICT": True}


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("case", PAGES)
def test_the_same_as_without(
    case: str, together: bool, strict: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = PAGES[case]
    if together and "extends" not in text:
        text = "{% fragments %}" + text + "{% endfragments %}"
    parts, request = engine(**PARTS), request_of()
    with account_context(ONE):
        shown = page(text, request, parts, **VALUES)
        monkeypatch.setattr(fragment_page, "_is_used", lambda: False)
        assert shown == page(text, request, parts, **VALUES)
    assert shown


def test_the_invalid_is_shown_as_the_engine_says(strict: None) -> None:
    parts = engine()
    parts.string_if_invalid = "INVALID"
    with account_context(ONE):
        text = '{% fragment "f" word.none %}{{ nothing }}{{ word.none }}{% endfragment %}'
        assert page(text, using=parts, word="w") == "INVALIDINVALID"


def test_what_a_page_is_made_of_is_one_string_that_is_safe(strict: None) -> None:
    text = '{% fragment "f" bad %}{{ bad }}{% endfragment %}'
    with account_context(ONE):
        assert page("{% filter force_escape %}" + text + "{% endfilter %}", bad="<") == "&amp;lt;"


def test_without_a_cache_nothing_is_asked(settings: Any) -> None:
    del settings.CACHING
    settings.DEBUG = False
    shown = page('{% fragments %}{% fragment "f" %}{{ word }}{% endfragment %}{% endfragments %}')
    assert shown == ""
    assert page('{% fragment "f" %}{{ word }}{% endfragment %}', word="w") == "w"


def test_while_debugging_it_is_refused_without_a_cache_too(settings: Any) -> None:
    from caching.guard import FragmentError

    settings.CACHING = None
    settings.DEBUG = True
    with account_context(ONE), pytest.raises(FragmentError, match="reads or shows word"):
        page('{% fragment "f" %}{{ word }}{% endfragment %}', word="w")


def test_a_zone_within_a_page(strict: None) -> None:
    text = '{% load tz %}{% fragments %}{% fragment "f" at %}{{ at|date:"H" }}{% endfragment %}'
    text += '{% timezone "Asia/Tokyo" %}{% fragment "f" at %}{{ at|date:"H" }}{% endfragment %}'
    parts = engine()
    parts.template_libraries["tz"] = __import__("django.templatetags.tz", fromlist="x").register
    at = timezone.datetime(2026, 1, 1, 3, tzinfo=timezone.timezone.utc)  # type: ignore[attr-defined]
    with account_context(ONE), translation.override("en"), timezone.override("UTC"):
        shown = page(text + "{% endtimezone %}{% endfragments %}", using=parts, at=at)
    assert shown == "0312"
