from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser

from routers import current_account
from routers.commands import AccountCommand

TELL = "from routers.context import current_scope; print(current_scope())"


class Tell(AccountCommand):
    """Writes the account, and its own argument."""

    def add_arguments(self, parser: CommandParser) -> None:  # without super(), as most do
        parser.add_argument("word", nargs="?", default="-")

    def handle(self, *args: Any, word: str, **options: Any) -> None:
        self.stdout.write(f"{word} {current_account()}")


class TellIfAny(Tell):
    account_required = False


class TellByName(Tell):
    def find_account(self, given: str) -> int:
        return {"acme": 1}[given]


class Fail(Tell):
    def handle(self, *args: Any, **options: Any) -> None:
        raise KeyError(current_account())


def told(command: AccountCommand, *words: str, **options: object) -> str:
    out = StringIO()
    call_command(command, *words, stdout=out, **options)
    assert current_account() is None
    return out.getvalue().strip()


def test_the_command_runs_inside_its_account() -> None:
    assert told(Tell(), "word", "--account", "42") == "word 42"
    assert told(Tell(), account=42) == "- 42"
    assert told(TellByName(), "--account", "acme") == "- 1"


def test_the_account_may_be_left_out_only_where_the_command_says_so() -> None:
    assert told(TellIfAny()) == "- None"
    assert told(TellIfAny(), "--account=7") == "- 7"
    with pytest.raises(CommandError, match="--account"):
        told(Tell())


@pytest.mark.parametrize("seen", ["0", "-3", "acme", "1.5", str(2**63)])
def test_what_is_no_account_is_named(seen: str) -> None:
    with pytest.raises(CommandError, match=f"--account {seen}: An account id is an integer"):
        told(Tell(), f"--account={seen}")


def test_the_account_ends_with_a_failing_command() -> None:
    with pytest.raises(KeyError, match="5"):
        told(Fail(), account=5)
    assert current_account() is None


@pytest.mark.parametrize(
    ("words", "scope"),
    [(["42"], "account 42"), (["--shard", "shard01"], "all of shard01")],
)
def test_in_account_runs_any_command(
    words: list[str], scope: str, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("in_account", *words, "shell", "--no-imports", "-c", TELL)
    assert capsys.readouterr().out.strip() == scope
    assert current_account() is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "not ''"),
        (["acme", "shell"], "not 'acme'"),
        (["0", "shell"], "not 0"),
        (["--shard", "shard09", "shell"], "'shard09' is no shard"),
        (["42"], "Which command"),
        (["--shard", "shard01"], "Which command"),
    ],
)
def test_in_account_says_what_is_wrong(words: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        call_command("in_account", *words)


def test_in_account_passes_on_how_the_command_ended(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call_command("in_account", "42", "shards", "where", "0")
    assert ended.value.code == 1
    assert "not 0" in capsys.readouterr().err
    assert current_account() is None
