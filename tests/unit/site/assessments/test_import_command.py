from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from accounts.models import Account
from assessments.models import Candidate
from routers import account_context


def test_candidates_go_into_the_account_that_is_named(
    account: Account, other_account: Account, tmp_path: Path
) -> None:
    file = tmp_path / "people.csv"
    file.write_text("name,email\nAda,ada@example.org\n")
    call_command("import_candidates", str(file), "--account", "basalt")
    with account_context(other_account.pk):
        assert [candidate.name for candidate in Candidate.objects.all()] == ["Ada"]
    with account_context(account.pk):
        assert not Candidate.objects.exists()


def test_an_unknown_account_is_named(account: Account, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--account nobody: there is no such account"):
        call_command("import_candidates", str(tmp_path / "any.csv"), "--account", "nobody")
