"""What a report's page asks until the report is ready: who may ask, and what it costs."""

import pytest
from django.test import Client

from accounts.models import Account
from assessments import services
from assessments.judging import judge_session
from assessments.models import TestSession
from routers import account_context
from tests.unit.site.pages_support import counted_queries, invited, log_in, make_test, text_of

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture
def session(account: Account) -> TestSession:
    return invited(account, make_test(account))


def address(session: TestSession, slug: str = "acme") -> str:
    return f"/a/{slug}/sessions/{session.code}/state.json"


def test_from_invitation_to_report(client: Client, account: Account, session: TestSession) -> None:
    owner, said = log_in(client), []
    with account_context(account.pk):
        for step in (
            lambda: None,
            lambda: services.session_start(session),
            lambda: services.session_finish(session),
            lambda: judge_session(session.pk),
        ):
            step()
            state = owner.get(address(session)).json()
            said.append((state["status"], state["ready"], state["again"]))
    assert said == [
        ("invited", False, 20),
        ("started", False, 10),
        ("finished", False, 1),
        ("closed", True, 0),
    ]


def test_while_it_is_the_same_nothing_is_sent(
    client: Client, account: Account, session: TestSession
) -> None:
    owner = log_in(client)
    first = owner.get(address(session))
    same = {"If-None-Match": first["ETag"]}
    again = owner.get(address(session), headers=same)
    assert (again.status_code, again.content) == (304, b"")
    assert set(first["Cache-Control"].split(", ")) == {"no-cache", "private"}
    with account_context(account.pk):
        services.session_start(session)
    assert owner.get(address(session), headers=same).status_code == 200


@pytest.mark.parametrize("tasks", [1, 8])
def test_it_costs_one_query_on_the_shard(client: Client, account: Account, tasks: int) -> None:
    session = invited(account, make_test(account, tasks=tasks))
    owner = log_in(client)
    with counted_queries() as queries:
        assert owner.get(address(session)).status_code == 200
    assert len(queries) == 5  # four in the catalog: login, person, account, role
    assert len([sql for sql in queries if "assessments_" in sql]) == 1


def test_nobody_else_may_ask(
    client: Client, account: Account, other_account: Account, session: TestSession
) -> None:
    assert client.get(address(session))["Location"].startswith("/login/")
    stranger = log_in(client, "owner@basalt.test")
    assert stranger.get(address(session)).status_code == 404
    assert stranger.get(address(session, "basalt")).status_code == 404
    assert log_in(client, "viewer@acme.test").get(address(session)).status_code == 200


def test_an_address_that_there_is_not(client: Client, account: Account) -> None:
    owner = log_in(client)
    for code in ("NOSUCHCODE22", "a-b"):
        assert owner.get(f"/a/acme/sessions/{code}/state.json").status_code == 404


def test_only_a_report_that_is_not_ready_asks(
    client: Client, account: Account, session: TestSession
) -> None:
    owner, page = log_in(client), f"/a/acme/sessions/{session.code}/"
    assert f'data-state="{address(session)}"' in text_of(owner.get(page))
    with account_context(account.pk):
        services.session_start(session)
        services.session_finish(session)
        judge_session(session.pk)
    assert "data-state" not in text_of(owner.get(page))
    assert "js/report.js" not in text_of(owner.get(page))
