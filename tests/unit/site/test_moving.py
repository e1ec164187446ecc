"""What a person and a task of the site meet while their account moves to another shard."""

from typing import Any

import pytest
from django.test import Client
from django.test.utils import override_settings

from accounts.models import Account
from assessments import jobs, selectors
from routers import account_context
from routers.exceptions import AccountMoving
from tests.unit.site.pages_support import log_in

pytestmark = pytest.mark.django_db(databases="__all__")


class Refused:
    """Work that is refused so many times, then done."""

    def __init__(self, account: Account, times: int) -> None:
        self.account, self.times, self.runs = account, times, 0

    def __call__(self, *args: object, **kwargs: object) -> None:
        self.runs += 1
        if self.runs <= self.times:
            raise AccountMoving(self.account.pk, "shard01", "account is being moved")


def test_a_page_of_the_sites_own_says_that_the_account_moves(
    client: Client, account: Account, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    log_in(client)
    monkeypatch.setattr(selectors, "dashboard", Refused(account, 10**9))
    with override_settings(SHARDING={**settings.SHARDING, "MOVING_SECONDS": 0.05}):
        response = client.get(f"/a/{account.slug}/")
    assert (response.status_code, response["Retry-After"]) == (503, "1")
    assert "This account is moving to another server" in response.content.decode()


def test_a_job_is_run_again(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Refused(account, 2)
    monkeypatch.setattr(jobs, "judge_session", work)
    with account_context(account.pk):
        jobs.judge.delay(1)
    assert work.runs == 3
