import json
import threading
from pathlib import Path
from typing import Any

import pytest

from routers import ShardMap
from routers.shard_map.file import load_map, save_map

EVEN = ShardMap.even(["shard01", "shard02", "shard03"])


@pytest.fixture
def path(tmp_path: Path, settings: Any) -> Path:
    path = tmp_path / "run" / "map.json"
    settings.SHARDING = {**settings.SHARDING, "MAP_FILE": str(path)}
    return path


def version(number: int, **pins: str) -> ShardMap:
    return ShardMap(EVEN.slots, {int(key[1:]): shard for key, shard in pins.items()}, number)


def test_a_saved_map_is_loaded_as_it_was(path: Path) -> None:
    save_map(version(7, _42="shard03"))
    assert load_map() == version(7, _42="shard03")


def test_without_a_path_or_a_file_there_is_no_map(path: Path, settings: Any) -> None:
    assert load_map() is None
    settings.SHARDING = {**settings.SHARDING, "MAP_FILE": None}
    save_map(version(7))
    assert load_map() is None
    assert not path.exists()


def test_an_older_version_never_replaces_a_newer_one(path: Path) -> None:
    save_map(version(7))
    save_map(version(6, _1="shard03"))
    assert load_map() == version(7)


def test_of_many_writers_at_once_the_newest_version_stays(path: Path) -> None:
    writers = [threading.Thread(target=save_map, args=[version(n)]) for n in range(1, 30)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert load_map() == version(29)
    assert {file.suffix for file in path.parent.iterdir()} == {".json", ".lock"}


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda text: text[: len(text) // 2], "JSONDecodeError"),
        (lambda text: "", "JSONDecodeError"),
        (lambda text: "[]", "TypeError"),
        (lambda text: text.replace("shard03", "shard09"), "it names shard09"),
        (lambda text: json.dumps({**json.loads(text), "slots": [[9, "shard01"]]}), "rise from 0"),
        (lambda text: json.dumps({**json.loads(text), "slots": []}), "rise from 0"),
        (lambda text: text.replace('"version"', '"edition"'), "KeyError"),
        (lambda text: text.replace('"42"', '"forty"'), "ValueError"),
    ],
)
def test_a_damaged_file_is_ignored_named_and_replaced(
    path: Path, caplog: pytest.LogCaptureFixture, damage: Any, named: str
) -> None:
    save_map(version(7, _42="shard03"))
    path.write_text(damage(path.read_text()))
    assert load_map() is None
    assert str(path) in caplog.text
    assert named in caplog.text
    save_map(version(2))
    assert load_map() == version(2)


def test_a_directory_that_cannot_be_written_is_logged_only(
    path: Path, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_text("")
    settings.SHARDING = {**settings.SHARDING, "MAP_FILE": str(path / "below" / "a-file")}
    save_map(version(1))
    assert "cannot be kept on disk" in caplog.text
