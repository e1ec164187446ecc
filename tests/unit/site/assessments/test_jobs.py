"""Jobs run for the account that asked for them."""

import pytest

from accounts.models import Account
from assessments import jobs
from assessments.models import Test
from assessments.services import session_finish, session_invite, session_start
from routers import AccountNotSet, account_context


def test_a_job_without_an_account_finds_nothing(db_of_all: None) -> None:
    with pytest.raises(AccountNotSet, match=r"assessments\.TestSession is sharded"):
        jobs.judge(1)


def test_another_accounts_session_is_not_judged(screening: Test, other_account: Account) -> None:
    """Both accounts are on one shard."""
    session = session_start(session_invite(test=screening, email="a@example.org", name="A"))
    session_finish(session)
    with account_context(other_account.pk):
        jobs.judge.delay(session.pk)
    session.refresh_from_db()
    assert session.status == session.Status.FINISHED
    jobs.judge.delay(session.pk)
    session.refresh_from_db()
    assert session.status == session.Status.CLOSED
