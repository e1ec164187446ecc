"""The process of the bench of fragments: rows that were read once, rendered in several ways."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))  # whose modules are called as packages are

from tests.bench.caching_worker import configure, make_models, timed

ROW = """<tr><th scope="row"><a href="/book/{{ row.pk }}">{{ row.title }}</a></th>
<td>{{ row.author.name }}</td><td>{{ row.bought_at|date:"Y-m-d H:i" }}</td>
<td{% if not row.read_at %} class="none"{% endif %}>{{ row.read_at|date:"Y-m-d H:i" }}</td>
<td class="num">{% if row.copies %}{{ row.copies }}{% else %}<span>-</span>{% endif %}</td>
<td class="num">{{ row.pages }}</td><td>{{ row.place|upper }}</td></tr>"""
ROWS = "{% for row in rows %}" + ROW + "{% endfor %}"
LOAD = "{% load cache fragments %}"


def loop(before: str, after: str) -> str:
    return "{% for row in rows %}" + before + ROW + after + "{% endfor %}"


LASTING = loop('{% fragment "row" row.pk row.copies uses="row" lasting %}', "{% endfragment %}")
TEMPLATES = {
    "table, rendered": ROWS,
    "table, {% cache %}": "{% cache 3600 table 1 %}" + ROWS + "{% endcache %}",
    "table, ours": '{% fragment "table" 1 uses="rows" %}' + ROWS + "{% endfragment %}",
    "20 rows, {% cache %}": loop("{% cache 3600 row row.pk row.copies %}", "{% endcache %}"),
    "20 rows, ours, each alone": LASTING,
    "20 rows, ours, together": "{% fragments %}" + LASTING + "{% endfragments %}",
}


def main(given: dict[str, Any]) -> None:
    import django

    configure("ours", given)
    django.setup()
    queries = make_pages()
    for line in sys.stdin:
        name, _, times = line.rpartition(" ")
        print(timed(queries[name], int(times)), flush=True)


def make_pages() -> dict[str, Callable[[], object]]:
    from django.template import Engine

    from caching.moments import reading
    from routers import ShardMap, account_context
    from routers.shard_map import use_map

    book = make_models("ours")[1]
    use_map(ShardMap.even(["shard01"]))
    account_context(5).__enter__()
    rows = list(book.objects.select_related("author").order_by("title")[:20])
    engine = Engine(
        libraries={
            "cache": "django.templatetags.cache",
            "fragments": "caching.templatetags.fragments",
        }
    )

    def page(text: str) -> Callable[[], object]:
        from django.template import Context

        template = engine.from_string(LOAD + text)

        def shown() -> object:
            with reading():
                return template.render(Context({"rows": rows}))

        shown()  # makes the token, which has to be known before
        shown()
        return shown

    return {name: page(text) for name, text in TEMPLATES.items()}


if __name__ == "__main__":
    main(json.loads(sys.stdin.readline()))
