"""`{% load fragments %}`: parts of a page that are kept, and are never wrong.

    {% fragment "name" vary… uses="rows" tables="accounts_account" for=role seconds=60 %}
      …
    {% endfragment %}

A fragment shows what its tag names, and nothing else: anything more raises while DEBUG is on, and
is shown but not kept where it is off.

    vary       paths (`session.code`, `request.GET.page`), any expression, or `name=expression`.
               They are in the key; paths and names can be read inside. Not evaluated: a queryset
               is refused; what is deferred in a row is the row's own affair.
    uses=      variables that can be read whole: what they hold is made from the values in the key,
               rows of the account, and rows of `tables=`. Never `request`, `user`, `perms`,
               `messages`.
    for=       who may see it: `for=request.membership.role`, `for="everyone"`. Without it, each
               visitor has one of their own.
    tables=    of global models in the catalog, cached ones, that it shows.
    seconds=   how long it is kept at most: for what says how late it is.
    names      people's names may stand in it, the visitor's own among them.
    lasting    see below.

The language, the time zone, the account and the templates that it is made from are in the key too.

It is valid until anything of the account is written, or of its tables. A read that starts after a
commit sees it: the fragment is kept only where its account has not been written since the request
began (`moments`). So the first request after a write makes it, the second keeps it, and a request
that is not GET, or has read a replica, keeps nothing.

`lasting` is for a fragment that is valid as long as its key is asked for, whatever is written: its
values in `vary` tell everything that it shows. That is so by itself for paths. With `uses=` it is
its author's promise that some value in `vary` changes with every commit that changes anything shown
of these variables, never comes back, and was read with what is shown, in one statement: the row's
number and a version that every UPDATE raises; those of each row that is followed. A value that was
not committed, or was rolled back, must not be named. It asks the database nothing.

A fragment may hold others. What makes an inner one invalid must do so with the outer one, else it
raises. An outer one that has become invalid is put together from inner ones that have not: rows
that last, in a table that does not.

    {% fragments %}…{% endfragments %}

All fragments in it are fetched in one round trip, and those in fragments that were not there in one
more. Without it each fragment is one. Filters and `{% spaceless %}` around fragments are heeded by
rendering that part one fragment after the other; a filter that counts characters is not.
"""

from typing import Any

from django import template
from django.apps import apps
from django.template.base import Node, NodeList, Parser, Token

from caching.fragment_page import show, show_together
from caching.fragment_terms import Terms, path_of
from caching.guard import PERSONAL
from caching.places import cached_tables
from routers.placement import Placement, placement_of

__all__ = ["register"]

register = template.Library()
FLAGS = ("lasting", "names")


class FragmentNode(Node):
    def __init__(self, terms: Terms) -> None:
        self.terms, self.nodelist = terms, terms.nodelist

    def render(self, context: Any) -> Any:
        return show(self.terms, context)


class FragmentsNode(Node):
    def __init__(self, nodelist: NodeList) -> None:
        self.nodelist = nodelist

    def render(self, context: Any) -> Any:
        return show_together(context, lambda: self.nodelist.render(context))


@register.tag
def fragments(parser: Parser, token: Token) -> FragmentsNode:
    nodelist = parser.parse(("endfragments",))
    parser.delete_first_token()
    return FragmentsNode(nodelist)


@register.tag
def fragment(parser: Parser, token: Token) -> FragmentNode:
    _, *bits = token.split_contents()
    if not bits or bits[0][0] not in "\"'":
        raise template.TemplateSyntaxError('{% fragment "name" … %}: its name comes first, quoted.')
    ahead: list[Any] = list(parser.tokens)
    nodelist = parser.parse(("endfragment",))
    text = "\n".join(
        f"{one.token_type} {one.contents}" for one in reversed(ahead[len(parser.tokens) :])
    )
    parser.delete_first_token()
    origin = getattr(parser.origin, "template_name", None) or "a string"
    terms = Terms(
        bits[0][1:-1], origin, token.lineno or 0, f"{token.contents}\n{text}", nodelist, []
    )
    for bit in bits[1:]:
        _heed(terms, parser, bit)
    return FragmentNode(terms)


def _heed(terms: Terms, parser: Parser, bit: str) -> None:
    name, is_named, value = bit.partition("=")
    if bit in FLAGS:
        setattr(terms, bit, True)
    elif not is_named or not name.isidentifier():
        expression = parser.compile_filter(bit)
        terms.vary.append((path_of(expression), expression))
    elif name == "for":
        terms.visitor = parser.compile_filter(value)
    elif name == "seconds":
        terms.seconds = _number(value)
    elif name == "tables":
        terms.tables = frozenset(map(_table, _words(value, name)))
    elif name == "uses":
        terms.uses = tuple(map(_whole, _words(value, name)))
    else:
        terms.named[_whole(name)] = parser.compile_filter(value)


def _number(value: str) -> int:
    if not value.isdigit() or not int(value):
        raise template.TemplateSyntaxError(f"seconds={value} of a fragment is no whole number.")
    return int(value)


def _words(value: str, name: str) -> list[str]:
    if len(value) < 2 or value[0] not in "\"'" or value[-1] != value[0]:
        raise template.TemplateSyntaxError(f'{name}={value} of a fragment: say {name}="one two".')
    return value[1:-1].split()


def _whole(name: str) -> str:
    if name in PERSONAL:
        raise template.TemplateSyntaxError(
            f'uses="{name}" of a fragment would show everybody what is one visitor\'s. Name the '
            f"paths that it shows: {name}.…"
        )
    return name


def _table(name: str) -> str:
    """The table of a global model. Raises TemplateSyntaxError."""
    found: list[Any] = [model for model in apps.get_models() if model._meta.db_table == name]
    if found and placement_of(found[0]) is Placement.GLOBAL and name in cached_tables():
        return name
    raise template.TemplateSyntaxError(
        f"tables={name} of a fragment is not the table of a cached global model, so nobody is told "
        f"of its writes. Give the model a CachingManager; of a reference model, whose copies on "
        f"the shards come later, name the values that are shown instead."
    )
