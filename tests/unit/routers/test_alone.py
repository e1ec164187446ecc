"""The library alone: built, installed with what it declares, used by a project not ours."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.unit.conftest import CONFIG
from tests.variants import CHECKOUT

pytestmark = pytest.mark.skipif(CONFIG is not None, reason="needs no server, so it runs once")

SETTINGS = """
INSTALLED_APPS += ["routers", "bookshop"]
DATABASES = {
    alias: {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / f"{alias}.sqlite3"}
    for alias in ("default", "shard01", "shard02")
}
DATABASE_ROUTERS = ["routers.router.ShardRouter"]
SHARDING = {"SHARDS": {"shard01": 1, "shard02": 2}}
"""

MODELS = """
from django.db import models
from routers.models import GlobalModel, ReferenceModel, ShardedModel


class Shop(GlobalModel):
    name = models.CharField(max_length=50)


class Language(ReferenceModel):
    code = models.CharField(max_length=2, unique=True)


class Book(ShardedModel):
    title = models.CharField(max_length=50)
    language = models.ForeignKey(Language, on_delete=models.PROTECT, related_name="+")
"""

USE = """
from bookshop.models import Book, Language, Shop
from routers import AccountNotSet, account_context, fan_out, shard_of
from routers.reference.carry import publish_references

Shop.objects.create(name="A")
english = Language.objects.create(code="en")
publish_references()
by_shard = {shard_of(account): account for account in range(1, 4096)}
assert set(by_shard) == {"shard01", "shard02"}
for shard, account in by_shard.items():
    with account_context(account):
        book = Book.objects.create(title=shard, language=english)
        assert book._state.db == shard
        assert [b.title for b in Book.objects.filter(language__code="en")] == [shard]
try:
    Book.objects.count()
except AccountNotSet as error:
    assert "account_context" in str(error)
else:
    raise SystemExit("read without an account")
print(*(book.title for book in fan_out(Book.objects.order_by("title"))))
"""


def _declared(name: str, seen: set[str]) -> Iterator[str]:
    """A package and, in turn, what it declares to need on this machine."""
    if name in seen:
        return
    seen.add(name)
    yield name
    for text in importlib.metadata.requires(name) or []:
        yield from _needed([text], seen)


def _needed(texts: list[str], seen: set[str]) -> Iterator[str]:
    for requirement in map(Requirement, texts):
        if not requirement.marker or requirement.marker.evaluate({"extra": ""}):
            yield from _declared(requirement.name, seen)


def _link(package: str, target: Path) -> None:
    """Make an installed package importable from `target` too."""
    files = importlib.metadata.files(package) or []
    for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
        if not (target / top).exists():
            (target / top).symlink_to(importlib.metadata.distribution(package).locate_file(top))  # type: ignore[arg-type]


def _run(*command: str | Path, cwd: Path) -> str:
    keep = {"PATH", "HOME", "LANG", "TMPDIR"}
    environment = {name: value for name, value in os.environ.items() if name in keep}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds `routers/` and what its pyproject.toml declares."""
    folder = tmp_path_factory.mktemp("alone")
    skip = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    shutil.copytree(CHECKOUT / "routers", folder / "routers", ignore=skip)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    build = ("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", "wheels")
    _run(*pip, *build, folder / "routers", cwd=folder)
    venv.create(folder / "venv", symlinks=True)
    [packages] = (folder / "venv" / "lib").glob("python*/site-packages")
    [wheel] = (folder / "wheels").glob("*.whl")
    _run(*pip, "install", "--no-deps", "--no-index", "--target", packages, wheel, cwd=folder)
    [installed] = importlib.metadata.distributions(name="fulcrum-routers", path=[str(packages)])
    for package in _needed(installed.requires or [], set()):
        _link(package, packages)
    return folder / "venv" / "bin" / "python"


def test_everything_of_the_folder_is_in_the_wheel(python: Path) -> None:
    [packages] = (python.parents[1] / "lib").glob("python*/site-packages")
    ours = {
        path.relative_to(CHECKOUT)
        for path in (CHECKOUT / "routers").rglob("*")
        if path.suffix in {".py", ".typed", ".html"} and "build" not in path.parts
    }
    theirs = {path.relative_to(packages) for path in (packages / "routers").rglob("*.*")}
    assert ours - theirs == set()


def test_an_empty_project_shards_its_own_models(python: Path, tmp_path: Path) -> None:
    _run(python, "-m", "django", "startproject", "shops", ".", cwd=tmp_path)
    _run(python, "manage.py", "startapp", "bookshop", cwd=tmp_path)
    with (tmp_path / "shops" / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    (tmp_path / "bookshop" / "models.py").write_text(MODELS)
    _run(python, "manage.py", "makemigrations", "bookshop", cwd=tmp_path)
    _run(python, "manage.py", "check", cwd=tmp_path)
    migrated = _run(python, "manage.py", "migrate_shards", cwd=tmp_path)
    assert re.search(r"shard02", migrated)
    said = _run(python, "manage.py", "shell", "--no-imports", "-c", USE, cwd=tmp_path)
    assert said.split() == ["shard01", "shard02"]
    assert "shard02" in _run(python, "manage.py", "shards", "status", cwd=tmp_path)
    assert "0 warnings" in _run(python, "manage.py", "doctor", cwd=tmp_path)
