"""What a fragment must not show is found in the text of the project's templates."""

from pathlib import Path
from typing import Any

import pytest
from django.core.checks import Error, Tags, run_checks

from caching.template_checks import check_templates

LOAD, END = "{% load fragments %}\n", "{% endfragment %}"
EVERYBODY = '{% fragment "f" for="everyone" %}\n'
BY_NUMBER = '{% fragment "f" user.pk %}'
EXTENDED = "{% extends 'base.html' %}{% block main %}"
BASE = LOAD + EVERYBODY + "{% block main %}{% endblock %}" + END


@pytest.fixture
def check(settings: Any, tmp_path: Path) -> Any:
    def found(**templates: str) -> list[Error]:
        for name, text in templates.items():
            (tmp_path / name.replace("__", ".")).write_text(text)
        settings.TEMPLATES = [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "DIRS": [tmp_path],
                "OPTIONS": {"libraries": {"fragments": "caching.templatetags.fragments"}},
            }
        ]
        return check_templates(None)  # type: ignore[return-value]

    return found


def held(text: str, tag: str = EVERYBODY) -> str:
    return LOAD + tag + text + END


WRONG: dict[str, tuple[str, dict[str, str], str]] = {
    "a token": ("caching.E005", {"page__html": held("\n{% csrf_token %}")}, "page.html:4"),
    "a token that is included": (
        "caching.E005",
        {"page__html": held("{% include 'form.html' %}"), "form__html": "\n{% csrf_token %}"},
        "form.html:2",
    ),
    "a token in an inner one": (
        "caching.E005",
        {"page__html": held('{% fragment "g" %}{% csrf_token %}' + END)},
        "page.html:3",
    ),
    "what fills a block": (
        "caching.E005",
        {
            "base__html": BASE,
            "page__html": EXTENDED + "\n{% csrf_token %}{% endblock %}",
        },
        "page.html:2",
    ),
    "the visitor": (
        "caching.E006",
        {"page__html": held("{{ request.user }}")},
        "page.html:3",
    ),
    "another path": (
        "caching.E006",
        {"page__html": held("{{ user.email }}", '{% fragment "f" for=user.pk %}\n')},
        "page.html:3",
    ),
    "messages": (
        "caching.E006",
        {"page__html": held("{% for one in messages %}{{ one }}{% endfor %}")},
        "page.html:3",
    ),
    "permissions": (
        "caching.E006",
        {"page__html": held("{% if 1 and not perms.app.change %}x{% endif %}")},
        "page.html:3",
    ),
    "a filter's argument": (
        "caching.E006",
        {"page__html": held("{{ word|default:user.email }}")},
        "page.html:3",
    ),
    "a tag's argument": ("caching.E006", {"page__html": held("{% firstof user %}")}, "page.html:3"),
    "the key of an inner one": (
        "caching.E006",
        {"page__html": held('{% fragment "g" user.pk %}x' + END)},
        "page.html:3",
    ),
    "an include by a variable": (
        "caching.E007",
        {"page__html": held("{% include part %}")},
        "page.html:2",
    ),
    "a tag that cannot be right": (
        "caching.E007",
        {"page__html": LOAD + '{% fragment "f" uses="request" %}x' + END},
        "page.html",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_it_is_found_with_file_and_line(check: Any, case: str) -> None:
    number, templates, where = WRONG[case]
    (problem,) = check(**templates)
    assert problem.id == number
    assert str(problem.obj).endswith(where)


RIGHT: dict[str, dict[str, str]] = {
    "for": {"page__html": held("{{ user.email.upper }}", '{% fragment "f" for=user.email %}')},
    "in the key": {"page__html": held("{{ user.email }}", '{% fragment "f" user.email %}')},
    "a loop's own": {
        "page__html": held("{% for user in rows %}{{ user.email }}{% endfor %}"),
    },
    "with": {"page__html": held("{% with user=row %}{{ user.email }}{% endwith %}")},
    "an include's own": {
        "page__html": held("{% include 'row.html' with user=row %}"),
        "row__html": "{{ user.email }}",
    },
    "an include that sees nothing": {
        "page__html": held("{% include 'row.html' only %}"),
        "row__html": "{{ user.email }}",
    },
    "an include of itself": {
        "page__html": held("{% include 'row.html' %}"),
        "row__html": "{% include 'row.html' %}",
    },
    "outside": {"page__html": held("x") + "{% csrf_token %}{{ user.email }}"},
    "an inner one's own": {
        "page__html": held(
            '{% fragment "g" user.pk %}{{ user.pk }}' + END, '{% fragment "f" user.pk %}'
        )
    },
    "a block that is not in it": {
        "base__html": LOAD + EVERYBODY + "{% block main %}x{% endblock %}" + END,
        "page__html": "{% extends 'base.html' %}{% block other %}{% csrf_token %}{% endblock %}",
    },
    "no fragment": {"page__html": "{{ user.email }}{% csrf_token %}"},
}


@pytest.mark.parametrize("case", RIGHT)
def test_nothing_is_said_of_what_is_safe(check: Any, case: str) -> None:
    assert check(**RIGHT[case]) == []


def test_it_is_one_of_the_projects_checks(check: Any) -> None:
    check(page__html=held("{% csrf_token %}"))
    assert [one.id for one in run_checks(tags=[Tags.templates])] == ["caching.E005"]
