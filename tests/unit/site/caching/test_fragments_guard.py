"""What a fragment may show: none of these needs a server."""

from typing import Any

import pytest
from django.db import connections
from django.middleware.csrf import get_token
from django.template import TemplateSyntaxError

from caching import fragment_page
from caching.counts import outcomes
from caching.guard import FragmentError
from caching.places import Place, of_account, of_tables
from caching.watched import heed
from routers import account_context
from routers.context import current_scope
from routers.ownership.guard import forget_answers
from tests.unit.databases import CONFIG
from tests.unit.site.caching.fragment_support import engine, page, request_of
from tests.unit.site.caching.shelf.models import Book
from tests.unit.site.caching.support import ONE


class Secret:
    """A tag library's way to a token, past the context."""

    def __init__(self, request: Any) -> None:
        self.request = request

    def __str__(self) -> str:
        return get_token(self.request)


class Row:
    name = "a name"
    empty = None

    def shown(self) -> str:
        return "shown"


@pytest.fixture
def strict(settings: Any) -> None:
    settings.CACHING = {"ENABLED": False, "STRICT": True}


@pytest.fixture
def lenient(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CACHING = {"STRICT": False}
    monkeypatch.setattr(fragment_page, "look_up", lambda pieces: {})


REFUSED = {
    "the request": ("{{ request.path }}", "request"),
    "the visitor": ("{{ user.email }}", "user"),
    "messages": ("{% for one in messages %}{{ one }}{% endfor %}", "messages"),
    "permissions": ("{% if perms.app.change %}x{% endif %}", "perms"),
    "a token": ("{% csrf_token %}", "csrf_token"),
    "any variable": ("{{ word }}", "word"),
    "a variable where errors are hidden": ("{% if word == 'x' and word %}x{% endif %}", "word"),
    "a variable of an include": ('{% include "part.html" %}', "word"),
    "the form of a tag's own token": ("{{ secret }}", "a CSRF token"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.usefixtures("strict")
def test_what_the_tag_does_not_name_is_refused(case: str) -> None:
    text, named = REFUSED[case]
    request = request_of()
    uses = ' uses="secret"' if "secret" in text else ""
    source = '<p>\n{% fragment "f" tables="" ' + uses + " %}" + text + "{% endfragment %}"
    with account_context(ONE), pytest.raises(FragmentError) as raised:
        page(source, request, engine(part__html="{{ word }}"), word="x", secret=Secret(request))
    assert named in str(raised.value)
    assert 'Fragment "f" (a string, line 2)' in str(raised.value)


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.usefixtures("lenient")
def test_in_production_it_is_shown_and_not_kept(case: str) -> None:
    request, text = request_of(), REFUSED[case][0]
    uses = ' uses="secret"' if "secret" in text else ""
    parts = engine(part__html="{{ word }}")
    values = {"word": "x", "secret": "none" if "secret" in text else "x"}
    if "secret" in text:
        values["secret"] = Secret(request)  # type: ignore[assignment]
    source = '{% fragment "g" ' + uses + " %}" + text + "{% endfragment %}"
    with account_context(ONE):
        shown = page(source, request, parts, **values)
        plain = page(text, request, parts, **values)
    assert outcomes["fragment g", "refused"] >= 1
    assert len(shown) == len(plain)
    if "token" not in case:
        assert shown == plain


@pytest.fixture(autouse=True)
def without_counts() -> None:
    outcomes.clear()


@pytest.mark.usefixtures("strict")
def test_a_path_that_is_named_can_be_read_and_no_other() -> None:
    text = '{% fragment "f" user.email row.shown row.empty.more %}{{ user.email }}{{ row.shown }}'
    text += "{{ row.empty.more|default:'-' }}"
    with account_context(ONE):
        assert page(text + "{% endfragment %}", request_of(), row=Row()) == "ann@example.comshown-"
        with pytest.raises(FragmentError, match=r"row\.name"):
            page(text + "{{ row.name }}{% endfragment %}", request_of(), row=Row())
        with pytest.raises(FragmentError, match="reads or shows row,"):
            page(text + "{% if row %}x{% endif %}{% endfragment %}", request_of(), row=Row())


@pytest.mark.usefixtures("strict")
def test_what_is_made_is_searched_for_the_visitor() -> None:
    request = request_of()
    request.session = type("Session", (), {"session_key": "k3y0fth3s3ss10n"})()  # type: ignore[assignment]
    shown = {
        "the visitor's CSRF token": f"<input value={get_token(request)}>",
        "a CSRF token": "<input name=csrfmiddlewaretoken>",
        "the visitor's session key": "k3y0fth3s3ss10n",
        "the visitor's name": "mail ann@example.com",
    }
    request.META.pop("CSRF_COOKIE_NEEDS_UPDATE")
    text = '{% fragment "f" uses="html" %}{{ html|safe }}{% endfragment %}'
    for what, html in shown.items():
        with account_context(ONE), pytest.raises(FragmentError, match=what):
            page(text, request, html=html)
    with account_context(ONE):
        for harmless in ("bob@example.com", "&lt;input name=csrfmiddlewaretoken&gt;"):
            assert page(text, request, html=harmless) == harmless
        names = text.replace("uses", "names uses")
        assert page(names, request, html="ann@example.com") == "ann@example.com"


@pytest.mark.usefixtures("strict")
def test_the_cookie_of_a_token_outside_is_still_sent() -> None:
    request = request_of()
    with account_context(ONE):
        page('{% csrf_token %}{% fragment "f" %}x{% endfragment %}', request)
    assert request.META["CSRF_COOKIE_NEEDS_UPDATE"] is True


WITHIN = {
    "lasts": ('"outer" lasting', '"inner"', "does not last"),
    "names": ('"outer"', '"inner" names', "the names in"),
    "tables": ('"outer"', '"inner" tables="shelf_publisher"', "the tables of"),
    "is another visitor's": ('"outer" for="everyone"', '"inner" for=user.pk', "user"),
}


@pytest.mark.parametrize("case", WITHIN)
@pytest.mark.usefixtures("strict")
def test_an_inner_one_that_would_outlive_its_outer_one(case: str) -> None:
    outer, inner, why = WITHIN[case]
    end = "{% endfragment %}"
    text = "{% fragment " + outer + " %}{% fragment " + inner + " %}x" + end + end
    with account_context(ONE), pytest.raises(FragmentError, match=why):
        page(text, request_of())


@pytest.mark.usefixtures("strict", "db_for_real")
def test_sql_that_nobody_would_tell_of() -> None:
    end = "{{ rows|length }}{% endfragment %}"
    with account_context(ONE):
        books = Book.objects.no_cache().all()
        assert page('{% fragment "f" uses="rows" %}' + end, rows=books.all()) == "0"
        with pytest.raises(FragmentError, match="shelf_language"):
            page('{% fragment "f" uses="rows" %}' + end, rows=books.select_related("language"))
        with pytest.raises(FragmentError, match="SQL on shard02"):
            page('{% fragment "f" uses="rows" lasting %}' + end, rows=books.all())
        with connections["shard02"].cursor() as cursor:
            cursor.execute("SELECT 1")  # nothing is watched any more


@pytest.mark.skipif(not CONFIG, reason="a database in memory is its connection")
@pytest.mark.usefixtures("strict", "db_for_real")
def test_a_threads_first_connection_may_be_a_fragments() -> None:
    forget_answers()
    with account_context(ONE):
        del connections["shard02"]  # as in a new thread
        books = Book.objects.no_cache().all()
        assert page('{% fragment "f" uses="rows" %}{{ rows|length }}{% endfragment %}', rows=books)


@pytest.mark.usefixtures("strict")
def test_what_is_kept_for_another_place() -> None:
    class Asked:
        def __init__(self, place: Place) -> None:
            self.place = place

        def __str__(self) -> str:
            heed(self.place)  # as an answer from the cache, for which no SQL runs
            return "x"

    text = '{% fragment "f" uses="asked" %}{{ asked }}{% endfragment %}'
    with account_context(ONE):
        account = of_account(current_scope())  # type: ignore[arg-type]
        publishers = of_tables(frozenset({"shelf_publisher"}))
        assert page(text, asked=Asked(account)) == "x"
        assert page(text.replace("uses", 'tables="shelf_publisher" uses'), asked=Asked(publishers))
        with pytest.raises(FragmentError, match="kept of the tables shelf_publisher"):
            page(text, asked=Asked(publishers))
        with pytest.raises(FragmentError, match="kept of a90001"):
            page(text.replace("uses", "lasting uses"), asked=Asked(account))
        heed(publishers)


@pytest.mark.usefixtures("strict")
def test_a_query_is_no_part_of_a_key() -> None:
    with account_context(ONE):
        rows = Book.objects.all()
        with pytest.raises(FragmentError, match="varies on a CachingAccountQuerySet"):
            page('{% fragment "f" rows %}x{% endfragment %}', rows=rows)
        assert rows._result_cache is None


@pytest.mark.usefixtures("strict")
def test_a_page_of_no_account_must_name_tables() -> None:
    with pytest.raises(FragmentError, match="no account and names no tables="):
        page('{% fragment "f" %}x{% endfragment %}')


SLIPS = {
    "{% fragment f %}": "its name comes first",
    '{% fragment "f" seconds=soon %}': "no whole number",
    '{% fragment "f" uses=rows %}': 'say uses="one two"',
    '{% fragment "f" uses="request" %}': "one visitor's",
    '{% fragment "f" user=row.user %}': "one visitor's",
    '{% fragment "f" tables="shelf_language" %}': "is not the table of a cached global model",
    '{% fragment "f" tables="shelf_reading" %}': "is not the table of a cached global model",
}


@pytest.mark.parametrize("tag", SLIPS)
def test_a_tag_that_cannot_be_right(tag: str) -> None:
    with pytest.raises(TemplateSyntaxError, match=SLIPS[tag]):
        page(tag + "x{% endfragment %}")


@pytest.mark.usefixtures("strict")
def test_a_variable_that_is_not_there() -> None:
    with account_context(ONE), pytest.raises(FragmentError, match="there is no such variable"):
        page('{% fragment "f" sesion.code %}x{% endfragment %}')


@pytest.mark.usefixtures("strict")
def test_an_include_by_a_variable() -> None:
    with account_context(ONE), pytest.raises(FragmentError, match="by the variable part"):
        page('{% fragment "f" part %}{% include part %}{% endfragment %}', part="part.html")
