"""A release is what git has at one commit; the same commit gives the same bytes."""

import hashlib
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from infra.errors import ClusterError
from infra.release import PYTHON, build, name_of

MANAGE = """import os, pathlib, sys
assert sys.argv[1] == "collectstatic", sys.argv
pathlib.Path(os.environ["FULCRUM_STATIC_ROOT"], "site.css").write_text("body {}")
"""
LOCK = "django==5.2 --hash=sha256:0\n"


def git(checkout: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    command = ["git", "-C", str(checkout), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with a site that collects one static file, and something beside it."""
    made = tmp_path / "checkout"
    files = {
        "site/manage.py": MANAGE,
        "routers/__init__.py": "",
        "requirements.lock": LOCK,
        "infra/secret.py": "not for hosts",
        "ansible/RUNBOOKS.md": "# Runbooks",
        "ansible/site.yml": "not for hosts",
    }
    for name, content in files.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(content)
    git(tmp_path, "init", "--quiet", "checkout")
    git(made, "add", ".")
    git(made, "commit", "--quiet", "-m", "first")
    return made


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """One that has the wheels of the lock, so that no registry is asked."""
    digest = hashlib.sha256(f"{PYTHON}\n{LOCK}".encode()).hexdigest()[:16]
    folder = tmp_path / "cache" / "wheels" / digest
    folder.mkdir(parents=True)
    (folder / "django-5.2-py3-none-any.whl").write_text("a wheel")
    return tmp_path / "cache"


def content(archive: Path) -> dict[str, str]:
    with tarfile.open(archive) as tar:
        files = [entry for entry in tar if entry.isfile()]
        return {entry.name: tar.extractfile(entry).read().decode() for entry in files}  # type: ignore[union-attr]


def test_a_release_has_what_hosts_need_and_nothing_else(checkout: Path, cache: Path) -> None:
    release = build(checkout=checkout, cache=cache)
    assert release.name == git(checkout, "rev-parse", "HEAD")[:12]
    found = content(release.archive)
    assert set(found) == {
        "RELEASE",
        "ansible/RUNBOOKS.md",
        "requirements.lock",
        "routers/__init__.py",
        "site/manage.py",
        "static/site.css",
        "wheels/django-5.2-py3-none-any.whl",
    }
    assert json.loads(found["RELEASE"])["commit"] == git(checkout, "rev-parse", "HEAD")
    assert set(content(release.static)) == {"static/site.css"}


def test_the_same_commit_gives_the_same_bytes(checkout: Path, cache: Path) -> None:
    release = build(checkout=checkout, cache=cache)
    before = release.archive.read_bytes()
    release.archive.unlink()
    assert build(checkout=checkout, cache=cache).archive.read_bytes() == before


def test_owners_and_times_are_not_this_machines(checkout: Path, cache: Path) -> None:
    release = build(checkout=checkout, cache=cache)
    when = int(git(checkout, "show", "--no-patch", "--format=%ct", "HEAD"))
    with tarfile.open(release.archive) as tar:
        seen = {(entry.uid, entry.uname, int(entry.mtime), entry.mode & 0o022) for entry in tar}
    assert seen == {(0, "root", when, 0)}


def test_a_release_that_is_there_is_not_made_again(checkout: Path, cache: Path) -> None:
    release = build(checkout=checkout, cache=cache)
    release.archive.write_text("there")
    assert build(checkout=checkout, cache=cache).archive.read_text() == "there"


def test_what_is_not_committed_is_refused_unless_it_is_meant(checkout: Path, cache: Path) -> None:
    (checkout / "site/manage.py").write_text(MANAGE + "# changed\n")
    (checkout / "site/new.py").write_text("")
    with pytest.raises(ClusterError, match=r"site/manage\.py, site/new\.py.*-e dirty=true"):
        name_of(checkout=checkout)
    assert name_of(dirty=True, checkout=checkout) == name_of("HEAD", checkout=checkout)
    assert (
        content(build(dirty=True, checkout=checkout, cache=cache).archive)["site/manage.py"]
        == MANAGE
    )


def test_what_hosts_do_not_get_may_change(checkout: Path) -> None:
    (checkout / "infra/secret.py").write_text("changed")
    assert name_of(checkout=checkout) == git(checkout, "rev-parse", "HEAD")[:12]


def test_an_older_commit_can_be_released(checkout: Path, cache: Path) -> None:
    first = git(checkout, "rev-parse", "HEAD")
    (checkout / "routers/__init__.py").write_text("second = True\n")
    git(checkout, "commit", "--quiet", "--all", "-m", "second")
    git(checkout, "tag", "v1", first)
    assert content(build("v1", checkout=checkout, cache=cache).archive)["routers/__init__.py"] == ""
    assert build("v1", checkout=checkout, cache=cache).name == first[:12]


def test_a_commit_that_is_not_there_is_named(checkout: Path) -> None:
    with pytest.raises(ClusterError, match="No commit 'v9'"):
        name_of("v9", checkout=checkout)


def test_a_site_that_cannot_collect_makes_no_release(checkout: Path, cache: Path) -> None:
    (checkout / "site/manage.py").write_text("raise SystemExit('no module named x')")
    git(checkout, "commit", "--quiet", "--all", "-m", "broken")
    with pytest.raises(ClusterError, match="collect the static files:\nno module named x"):
        build(checkout=checkout, cache=cache)
    assert not list((cache / "releases").glob("*"))
