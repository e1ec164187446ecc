"""A release of the site, made once, here: what git has of it at one commit, and its wheels.

    python -m infra.release name [COMMIT] [--dirty]     what the release is called; makes nothing
    python -m infra.release build [COMMIT] [--dirty]    make what is missing; prints its paths, JSON

NAME.tar.gz has site, routers, requirements.lock, wheels for hosts with Debian 13's Python, the
static files, and RELEASE with the whole commit; NAME-static.tar.gz the static files alone. The same
commit gives the same bytes. Hosts install from it and ask no package registry.
"""

__all__ = ["Release", "build", "main", "name_of"]

import argparse
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.errors import ClusterError
from infra.layout import CHECKOUT

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fulcrum"
PARTS = ("requirements.lock", "routers", "site", "ansible/RUNBOOKS.md")  # which the console shows
PYTHON = "3.13"
NAME_LENGTH = 12


@dataclass(frozen=True)
class Release:
    """`name` is the commit's, shortened; the others are paths of archives."""

    name: str
    archive: Path
    static: Path


def name_of(commit: str = "", dirty: bool = False, checkout: Path = CHECKOUT) -> str:
    """The release of `commit`, by default what is checked out.

    Without a commit, changes that are not committed would be left out in silence: they are refused,
    unless `dirty` says that this is meant.
    """
    if not commit and not dirty:
        _refuse_changes(checkout)
    found = _git(checkout, "rev-parse", "--verify", "--quiet", f"{commit or 'HEAD'}^{{commit}}")
    if not found:
        raise ClusterError(f"No commit '{commit}' in {checkout}: fetch it, or name another.")
    return found[:NAME_LENGTH]


def build(
    commit: str = "", dirty: bool = False, checkout: Path = CHECKOUT, cache: Path = CACHE
) -> Release:
    """The release of `commit`, made if the cache does not have it."""
    name = name_of(commit, dirty, checkout)
    folder = cache / "releases"
    release = Release(name, folder / f"{name}.tar.gz", folder / f"{name}-static.tar.gz")
    if release.archive.exists() and release.static.exists():
        return release
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fulcrum-release-") as temporary:
        tree = Path(temporary)
        _lay_out(tree, name, checkout, cache)
        when = int(_git(checkout, "show", "--no-patch", "--format=%ct", name))
        _pack(release.static, tree, ["static"], when)
        _pack(release.archive, tree, [*PARTS, "RELEASE", "static", "wheels"], when)
    return release


def _refuse_changes(checkout: Path) -> None:
    status = _git(checkout, "status", "--porcelain", "--", *PARTS)
    if status:
        files = ", ".join(line.split(maxsplit=1)[1] for line in status.splitlines()[:5])
        raise ClusterError(
            f"Not committed, and so in no release: {files}. Commit, or leave the changes out with "
            "`-e dirty=true` (--dirty), or name a commit."
        )


def _lay_out(tree: Path, name: str, checkout: Path, cache: Path) -> None:
    """Everything of the release, as it will lie on a host."""
    archive = subprocess.run(  # noqa: S603 - git, with a name that rev-parse gave
        ["git", "-C", str(checkout), "archive", "--format=tar", name, *PARTS],  # noqa: S607
        check=True,
        capture_output=True,
    )
    subprocess.run(["tar", "-x", "-C", str(tree)], input=archive.stdout, check=True)  # noqa: S603, S607
    commit = _git(checkout, "rev-parse", name)
    (tree / "RELEASE").write_text(json.dumps({"commit": commit, "name": name}) + "\n")
    _collect_static(tree)
    shutil.copytree(_wheels(tree / "requirements.lock", cache), tree / "wheels")


def _collect_static(tree: Path) -> None:
    """Of every app that is installed, with the site's own settings and no server."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FULCRUM_")}
    environment |= {"FULCRUM_STATIC_ROOT": str(tree / "static"), "PYTHONDONTWRITEBYTECODE": "1"}
    (tree / "static").mkdir()
    _run(
        [sys.executable, "manage.py", "collectstatic", "--no-input", "--verbosity", "0"],
        "collect the static files",
        cwd=tree / "site",
        env=environment,
    )


def _wheels(lock: Path, cache: Path) -> Path:
    """A folder with the wheels of `lock`; kept, by what the lock says."""
    digest = hashlib.sha256(f"{PYTHON}\n{lock.read_text()}".encode()).hexdigest()[:16]
    folder = cache / "wheels" / digest
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        target = ["--python-version", PYTHON, "--only-binary", ":all:", "--require-hashes"]
        quiet = ["--quiet", "--disable-pip-version-check"]
        pip = [sys.executable, "-m", "pip", "download", *quiet, *target]
        _run([*pip, "--dest", temporary, "--requirement", str(lock)], "download the wheels")
        Path(temporary).chmod(0o755)
        shutil.copytree(temporary, folder.with_suffix(".new"), dirs_exist_ok=True)
        folder.with_suffix(".new").replace(folder)
    return folder


def _pack(archive: Path, tree: Path, parts: Iterable[str], when: int) -> None:
    """In order, without owners, at the commit's time: the same bytes for the same commit."""
    temporary = archive.with_suffix(".new")
    with (
        temporary.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=3, fileobj=raw, mtime=when) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for part in sorted(parts):
            for path in sorted([tree / part, *(tree / part).rglob("*")]):
                _add(tar, path, path.relative_to(tree), when)
    temporary.replace(archive)


def _add(tar: tarfile.TarFile, path: Path, name: Path, when: int) -> None:
    entry = tar.gettarinfo(str(path), str(name))
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mtime = when
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    with path.open("rb") if entry.isfile() else open(os.devnull, "rb") as content:
        tar.addfile(entry, content if entry.isfile() else None)


def _git(checkout: Path, *arguments: str) -> str:
    command = ["git", "-C", str(checkout), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode and done.stderr:
        raise ClusterError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def _run(command: list[str], what: str, **options: object) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]  # noqa: S603
    if done.returncode:
        raise ClusterError(f"Could not {what}:\n{done.stdout}{done.stderr}".rstrip())


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m infra.release")
    parser.add_argument("verb", choices=["name", "build"])
    parser.add_argument("commit", nargs="?", default="")
    parser.add_argument("--dirty", action="store_true", help="leave out what is not committed")
    options = parser.parse_args(arguments)
    try:
        if options.verb == "name":
            print(name_of(options.commit, options.dirty))
        else:
            made = build(options.commit, options.dirty)
            print(json.dumps({key: str(value) for key, value in asdict(made).items()}))
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
