import json
import re
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from routers.doctor import rules
from routers.doctor.rules import RULES, check_code, examine, own_code
from tests.variants import CHECKOUT

EXAMPLES = Path(__file__).with_name("doctor_examples.py")
EXPECTED = re.compile(r"# expect (W\d+)")
CURSORS_ON = {"default": {"ENGINE": "django.db.backends.postgresql"}}


@pytest.fixture
def _cursors_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalog on PostgreSQL with Django's default: cursors on the server."""
    monkeypatch.setattr(rules, "django_settings", SimpleNamespace(DATABASES=CURSORS_ON))


def expected() -> list[tuple[int, str]]:
    lines = enumerate(EXAMPLES.read_text().splitlines()[5:], start=6)
    return [(number, rule) for number, line in lines for rule in EXPECTED.findall(line)]


def run(*arguments: str) -> tuple[str, int]:
    out = StringIO()
    try:
        call_command("doctor", *arguments, stdout=out)
    except SystemExit as ended:
        return out.getvalue(), int(str(ended.code))
    return out.getvalue(), 0


@pytest.mark.usefixtures("_cursors_on")
def test_every_example_is_found_and_nothing_else() -> None:
    assert [(found.line, found.rule) for found in examine([EXAMPLES])] == expected()


def test_every_rule_has_an_example() -> None:
    assert {rule for _, rule in expected()} == set(RULES) - {"W100"}


def test_iterator_is_fine_where_the_cursors_are_off() -> None:
    assert "W105" not in {found.rule for found in examine([EXAMPLES])}


def test_sql_of_migrations_goes_past_the_pooler(tmp_path: Path) -> None:
    text = 'from django.db import transaction\ncursor.execute("SET x = 1")\ntransaction.atomic()\n'
    for folder in ("migrations", "app"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "m0001.py").write_text(text)
    assert [found.rule for found in examine([tmp_path / "migrations"])] == ["W101"]
    assert [found.rule for found in examine([tmp_path / "app"])] == ["W107", "W101"]


def test_the_models_own_file_and_relative_imports_are_followed(tmp_path: Path) -> None:
    for text in (
        "class Order: ...\nOrder.objects.raw('x')",
        "from .models import Order\nOrder.objects.raw('x')",
        "from tests.unit.routers.shop import models\nmodels.Order.objects.raw('x')",
    ):
        (tmp_path / "one.py").write_text(text)
        assert [found.rule for found in examine([tmp_path])] == ["W112"], text
    (tmp_path / "one.py").write_text("from elsewhere import Order\nOrder.objects.raw('x')")
    assert examine([tmp_path]) == []


def test_the_command_names_place_and_cure_and_fails() -> None:
    said, status = run(str(EXAMPLES))
    line = next(number for number, rule in expected() if rule == "W102")
    assert f"doctor_examples.py:{line}: warning W102" in said
    assert "account_on_commit(action)" in said
    assert status == 1


def test_the_command_writes_json() -> None:
    said, status = run(str(EXAMPLES), "--json")
    first = json.loads(said)[0]
    assert first.keys() == {"path", "line", "rule", "level", "problem", "cure"}
    assert (first["rule"], first["level"], status) == ("W101", "warning", 1)


def test_hints_alone_fail_only_when_asked_to(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("from threading import Thread\nThread(target=print)")
    assert run(str(tmp_path)) == (run(str(tmp_path), "--strict")[0], 0)
    assert run(str(tmp_path), "--strict")[1] == 1


def test_the_command_explains_every_rule() -> None:
    said, status = run("--rules")
    assert status == 0
    assert all(f"{rule} " in said for rule in RULES)


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="nowhere"):
        run(str(tmp_path / "nowhere"))


def test_a_file_that_is_no_python_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\natomic(")
    (tmp_path / "b.py").write_bytes(b"# \xff")
    (tmp_path / "c.py").write_text("cursor.execute('LISTEN x')")
    found = [(Path(each.path).name, each.line, each.rule) for each in examine([tmp_path])]
    assert found == [("a.py", 2, "W100"), ("b.py", 1, "W100"), ("c.py", 1, "W108")]


def test_the_system_check_reads_the_projects_own_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "own_code", lambda: [EXAMPLES])
    rules._checked.cache_clear()
    try:
        warnings = check_code(None)
    finally:
        rules._checked.cache_clear()
    assert {warning.id for warning in warnings} >= {"routers.W101", "routers.W111"}
    assert "routers.W114" not in {warning.id for warning in warnings}, "a hint"
    first = warnings[0]
    assert re.match(r"tests/unit/routers/doctor_examples\.py:\d+", str(first.obj))


def test_the_system_check_is_registered() -> None:
    from django.core.checks.registry import registry

    assert check_code in registry.registered_checks


def test_own_code_is_the_projects_and_not_what_is_installed() -> None:
    paths = [str(path) for path in own_code()]
    assert str(CHECKOUT / "tests/unit/routers/shop") in paths
    assert str(CHECKOUT / "tests/unit/routers/settings.py") in paths
    assert not any("site-packages" in path or path.endswith("/routers") for path in paths)


def test_our_own_site_is_in_good_health() -> None:
    assert [str(found) for found in examine([CHECKOUT / "site"]) if found.level == "warning"] == []
