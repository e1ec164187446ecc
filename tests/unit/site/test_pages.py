"""The pages over the test client: who may see them, what they hold, what they cost."""

import io
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Account, Membership, User
from assessments import services
from assessments.models import Answer, Candidate, Test, TestSession
from routers import account_context, shard_of
from tasks import library
from tests.unit.site.pages_support import (
    codes_shown,
    counted_queries,
    fill,
    invited,
    log_in,
    make_test,
    text_of,
)

pytestmark = pytest.mark.django_db(databases="__all__")
QUERY_BUDGET = 6
MEMBER_PAGES = ("dashboard", "sessions", "tests", "invite", "invite_csv", "test_new")
VIEWER_PAGES = ("dashboard", "sessions", "tests")


@pytest.fixture
def test(account: Account) -> Test:
    """A test in the account."""
    return make_test(account)


@pytest.fixture
def session(account: Account, test: Test) -> TestSession:
    """An invitation."""
    return invited(account, test)


@pytest.fixture
def owner(client: Client, account: Account) -> Client:
    """A client logged in as the account's owner."""
    return log_in(client)


def page(name: str, *args: object) -> str:
    return reverse(f"assessments:{name}", args=args)


def start(client: Client, session: TestSession, country: str = "PL") -> Any:
    address = page("candidate_start", "acme", session.code)
    return client.post(address, {"accept": "on", "country": country})


def hand_in(client: Client, session: TestSession, slug: str, **data: object) -> Any:
    return client.post(page("candidate_task", "acme", session.code, slug), data)


# People


def test_login_by_email_leads_to_the_only_account(client: Client, account: Account) -> None:
    given = {"username": " Owner@ACME.test ", "password": "secret"}
    response = client.post(reverse("accounts:login"), given, follow=True)
    assert response.redirect_chain[-1][0] == page("dashboard", "acme")


def test_a_wrong_password_is_told_without_saying_which_part_is_wrong(
    client: Client, account: Account
) -> None:
    given = {"username": "owner@acme.test", "password": "wrong"}
    response = client.post(reverse("accounts:login"), given)
    assert "do not belong together" in text_of(response)
    assert "_auth_user_id" not in client.session


def test_home_lists_several_accounts(
    owner: Client, account: Account, other_account: Account
) -> None:
    user = User.objects.get(email="owner@acme.test")
    Membership.objects.create(user=user, account=other_account, role=Membership.Role.VIEWER)
    text = text_of(owner.get("/"))
    assert page("dashboard", "acme") in text
    assert page("dashboard", "basalt") in text


def test_home_of_a_person_without_account_says_so(client: Client, account: Account) -> None:
    User.objects.create_user("new@acme.test", "secret")
    assert "in no account yet" in text_of(log_in(client, "new@acme.test").get("/"))


def test_logout_needs_a_post(owner: Client) -> None:
    assert owner.get(reverse("accounts:logout")).status_code == 405
    owner.post(reverse("accounts:logout"))
    assert "_auth_user_id" not in owner.session


# Who may see what


@pytest.mark.parametrize("slug", ["acme", "no-such-account"])
@pytest.mark.parametrize("name", MEMBER_PAGES)
def test_a_visitor_is_sent_to_login_whether_or_not_the_account_exists(
    client: Client, account: Account, name: str, slug: str
) -> None:
    response = client.get(page(name, slug))
    assert response.status_code == 302
    assert response["Location"] == f"/login/?next={page(name, slug)}"


@pytest.mark.parametrize("name", MEMBER_PAGES)
def test_another_account_looks_like_none(owner: Client, other_account: Account, name: str) -> None:
    theirs, nobodys = owner.get(page(name, "basalt")), owner.get(page(name, "no-such-account"))
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.content == nobodys.content


@pytest.mark.parametrize("role", Membership.Role.values)
@pytest.mark.parametrize("name", MEMBER_PAGES)
def test_roles(client: Client, account: Account, test: Test, name: str, role: str) -> None:
    response = log_in(client, f"{role}@acme.test").get(page(name, "acme"))
    allowed = role != Membership.Role.VIEWER or name in VIEWER_PAGES
    assert response.status_code == (200 if allowed else 403)


def test_a_viewer_cannot_invite_by_post(client: Client, account: Account, test: Test) -> None:
    given = {"name": "Ada", "email": "ada@example.com", "test": test.pk}
    assert log_in(client, "viewer@acme.test").post(page("invite", "acme"), given).status_code == 403
    with account_context(account.pk):
        assert not TestSession.objects.exists()


def test_another_accounts_code_is_not_found(
    owner: Client, other_account: Account, test: Test
) -> None:
    """The two accounts are on one shard: only the account filter keeps them apart."""
    theirs = invited(other_account, make_test(other_account))
    assert owner.get(page("report", "acme", theirs.code)).status_code == 404
    assert owner.get(page("candidate_home", "acme", theirs.code)).status_code == 404
    assert owner.get(page("candidate_home", "basalt", theirs.code)).status_code == 200


def test_another_accounts_test_cannot_be_chosen(
    owner: Client, other_account: Account, test: Test
) -> None:
    theirs = make_test(other_account)
    given = {"name": "Ada", "email": "ada@example.com", "test": theirs.pk}
    assert owner.post(page("invite", "acme"), given).status_code == 200
    with account_context(other_account.pk):
        assert not TestSession.objects.exists()


@pytest.mark.parametrize("name", ["candidate_start", "candidate_finish"])
def test_a_form_without_its_token_is_refused(
    account: Account, session: TestSession, name: str
) -> None:
    strict = Client(enforce_csrf_checks=True)
    response = strict.post(page(name, "acme", session.code), {"accept": "on"})
    assert response.status_code == 403
    assert "no longer valid" in text_of(response)


def test_headers(owner: Client, session: TestSession) -> None:
    for address in (page("dashboard", "acme"), page("candidate_home", "acme", session.code)):
        response = owner.get(address)
        assert "private" in response["Cache-Control"]
        assert response["Referrer-Policy"] == "same-origin"
        assert "default-src 'self'" in response["Content-Security-Policy"]


@pytest.mark.parametrize("name", MEMBER_PAGES)
def test_nothing_is_inline(owner: Client, test: Test, name: str) -> None:
    """The policy would refuse it."""
    text = text_of(owner.get(page(name, "acme")))
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]* src=)", text)


# What pages cost


@pytest.mark.parametrize("name", ["dashboard", "sessions"])
def test_the_number_of_queries_does_not_grow(
    owner: Client, account: Account, test: Test, name: str
) -> None:
    fill(account, test, 20)
    with counted_queries() as few:
        assert owner.get(page(name, "acme")).status_code == 200
    with account_context(account.pk):
        TestSession.objects.all().delete()
    fill(account, make_test(account, "Second"), 20_000)
    with counted_queries() as many:
        assert owner.get(page(name, "acme")).status_code == 200
    assert len(few) == len(many) <= QUERY_BUDGET, "\n".join(many)


@pytest.mark.parametrize(
    "query", ["?sort=name", "?status=closed&sort=-result", "?q=person", "?q=ABCDEFGH2345"]
)
def test_any_view_of_the_table_is_within_the_budget(
    owner: Client, account: Account, test: Test, query: str
) -> None:
    fill(account, test, 100)
    with counted_queries() as queries:
        owner.get(page("sessions", "acme") + query)
    assert len(queries) <= QUERY_BUDGET


@pytest.mark.parametrize("tasks", [1, 8])
def test_report_and_candidate_pages_cost_the_same_for_any_number_of_tasks(
    owner: Client, account: Account, tasks: int
) -> None:
    session = invited(account, make_test(account, tasks=tasks))
    costs = []
    for address in (
        page("report", "acme", session.code),
        page("candidate_home", "acme", session.code),
    ):
        with counted_queries() as queries:
            assert owner.get(address).status_code == 200
        costs.append(len(queries))
    start(owner, session)
    with counted_queries() as queries:
        owner.get(page("candidate_home", "acme", session.code))
    # Tasks by themselves, so that they can be cached; the welcome asks whether it is a contest.
    assert [*costs, len(queries)] == [8, 7, 5]


def test_a_candidates_page_asks_nothing_about_logins(owner: Client, session: TestSession) -> None:
    with counted_queries() as queries:
        owner.get(page("candidate_home", "acme", session.code))
    assert not [sql for sql in queries if "django_session" in sql or "accounts_user" in sql]


# Dashboard and table


def test_dashboard_shows_figures_and_where_the_account_lives(
    owner: Client, account: Account, test: Test
) -> None:
    fill(account, test, 30)
    text = text_of(owner.get(page("dashboard", "acme")))
    assert f"account {account.pk} · slot {account.pk % 4096} · {shard_of(account.pk)}" in text
    assert '<p class="figure">80</p>' in text  # 100 credits less 20 started
    assert "closed <b>10</b>" in text


def test_empty_states(owner: Client) -> None:
    assert "Nothing on the scales" in text_of(owner.get(page("dashboard", "acme")))
    assert "No sessions yet" in text_of(owner.get(page("sessions", "acme")))
    assert "No tests yet" in text_of(owner.get(page("tests", "acme")))
    assert "no test to invite" in text_of(owner.get(page("invite", "acme")))


def test_the_tables_columns(owner: Client, account: Account, session: TestSession) -> None:
    text = text_of(owner.get(page("sessions", "acme")))
    heads = re.findall(r"<th role=\"columnheader\".*?</th>", text)
    assert [re.sub("<.*?>", "", head) for head in heads] == [
        *("Name", "Test", "Created", "Taken", "Status", "Invitation"),
        *("Result", "Test link", "Similarity"),
    ]
    assert page("candidate_home", "acme", session.code) in text


def test_sorting_marks_the_column_and_turns_its_link(owner: Client, session: TestSession) -> None:
    text = text_of(owner.get(page("sessions", "acme") + "?sort=name&status=invited"))
    assert re.search(r'aria-sort="ascending"><a href="\?status=invited&amp;sort=-name">Name', text)
    assert text.count("aria-sort") == 1


def test_a_name_is_never_markup(owner: Client, account: Account, test: Test) -> None:
    bad = "<script>alert(1)</script>\"'><img src=x>"
    session = invited(account, test, bad)
    addresses = [page("dashboard", "acme"), page("sessions", "acme")]
    addresses += [
        page("report", "acme", session.code),
        page("candidate_home", "acme", session.code),
    ]
    addresses += [f"{page('invite', 'acme')}?made={session.code}"]
    for address in addresses:
        text = text_of(owner.get(address))
        assert "<script>alert" not in text
        assert "<img" not in text
        assert "&lt;script&gt;alert(1)" in text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?q=marsh", 1),
        ("?q=OKAFOR.BERT", 0),
        ("?q=bertrand.okafor@", 1),
        ("?q=nobody", 0),
        ("?status=invited", 2),
        ("?status=closed", 0),
        ("?status=nonsense&test=abc&sort=nothing", 2),
        ("?test=99999999999999999999999", 2),
        ("?q=%00", 2),
    ],
)
def test_filter_and_search(
    owner: Client, account: Account, test: Test, query: str, found: int
) -> None:
    invited(account, test, "Ada Marsh")
    invited(account, test, "Bertrand Okafor")
    response = owner.get(page("sessions", "acme") + query)
    assert response.status_code == 200
    assert len(codes_shown(response)) == found


def test_search_by_code_and_filter_by_test(owner: Client, account: Account, test: Test) -> None:
    mine = invited(account, test)
    other = invited(account, make_test(account, "Second"), "Bo")
    assert codes_shown(owner.get(f"/a/acme/sessions/?q={mine.code.lower()}")) == [mine.code]
    assert codes_shown(owner.get(f"/a/acme/sessions/?test={other.test_id}")) == [other.code]


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize(
    "sort", ["name", "test", "created", "taken", "status", "result", "similarity"]
)
def test_a_walk_sees_each_row_once_forwards_and_backwards(
    owner: Client, account: Account, test: Test, sort: str, sign: str
) -> None:
    fill(account, test, 60)
    first = f"/a/acme/sessions/?sort={sign}{sort}"
    forwards, last = walk(owner, first, "next")
    backwards, _ = walk(owner, last, "prev")
    assert len(forwards) == 3
    codes = [code for shown in forwards for code in shown]
    assert len(codes) == len(set(codes)) == 60
    assert backwards[::-1] == forwards


def walk(client: Client, address: str, rel: str) -> tuple[list[list[str]], str]:
    """The codes of each page on the way, and the last page's address."""
    pages = []
    while True:
        response = client.get(address)
        pages.append(codes_shown(response))
        link = re.search(rf'rel="{rel}" href="(\?[^"]*)"', text_of(response))
        if link is None:
            return pages, address
        address = "/a/acme/sessions/" + link[1].replace("&amp;", "&")


@pytest.mark.parametrize(
    "cursor",
    ["nonsense", "W10", "WzEsMl0", "WyJhYmMiLDFd", "WyJhYmMiLCAxXQ", "bnVsbA", "%00", "e30",
     "WyIyMDI2LTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwgMTAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwXQ"],
)  # fmt: skip
@pytest.mark.parametrize("sort", ["created", "-taken", "-result", "name"])
def test_a_cursor_from_elsewhere_is_no_server_error(
    owner: Client, account: Account, session: TestSession, cursor: str, sort: str
) -> None:
    response = owner.get(f"/a/acme/sessions/?sort={sort}&after={cursor}")
    assert response.status_code in (200, 400)
    if response.status_code == 400:
        assert f'href="{page("sessions", "acme")}"' in text_of(response)


# Inviting


def test_invite_one_by_one(owner: Client, account: Account, test: Test) -> None:
    given = {"name": "Ada Marsh", "email": "Ada@Example.com", "test": test.pk}
    response = owner.post(page("invite", "acme"), given, follow=True)
    with account_context(account.pk):
        session = TestSession.objects.get(candidate__email="ada@example.com")
    assert f"http://testserver{page('candidate_home', 'acme', session.code)}" in text_of(response)


def test_an_invalid_invitation_shows_why(owner: Client, test: Test) -> None:
    response = owner.post(page("invite", "acme"), {"name": "", "email": "no", "test": test.pk})
    assert text_of(response).count('class="errorlist"') == 2


def test_without_a_credit_left_nobody_is_invited(
    owner: Client, account: Account, test: Test
) -> None:
    with account_context(account.pk):
        services.session_start(invited(account, test, "First"))
    account.credits = 1
    account.save()
    given = {"name": "Second", "email": "second@example.com", "test": test.pk}
    assert "All 1 credits of this account are used" in text_of(
        owner.post(page("invite", "acme"), given)
    )
    assert "credits" in upload(owner, b"name,email\nThird,third@example.com\n", test)
    upload(owner, b"name,email\nThird,third@example.com\n")
    with account_context(account.pk):
        assert Candidate.objects.filter(email="third@example.com").exists()
        assert TestSession.objects.count() == 1


def upload(client: Client, content: bytes, test: Test | None = None) -> str:
    file = io.BytesIO(content)
    file.name = "people.csv"
    given = {"file": file, "test": test.pk if test else ""}
    response = client.post(page("invite_csv", "acme"), given)
    assert response.status_code == 200
    return text_of(response)


def test_csv_upload_lists_bad_rows_by_line(owner: Client, account: Account, test: Test) -> None:
    content = (
        "\ufeffname;email\nAda;ada@example.com\nBo;nonsense\n;c@example.com\nDi;di@example.com\n"
    )
    text = upload(owner, content.encode(), test)
    assert re.findall(r'<th scope="row" class="num">(\d+)</th>', text) == ["3", "4"]
    assert "is not an e-mail address" in text
    assert "the name is empty" in text
    with account_context(account.pk):
        assert TestSession.objects.count() == 2
    upload(owner, content.encode(), test)
    with account_context(account.pk):
        assert TestSession.objects.count() == 2


@pytest.mark.parametrize("content", [b"", b"name,phone\nAda,1\n", b"\x00\xff\xfe"])
def test_an_unusable_file_is_refused_in_the_form(owner: Client, test: Test, content: bytes) -> None:
    assert 'class="errorlist"' in upload(owner, content)


def test_a_row_is_never_markup(owner: Client, test: Test) -> None:
    assert "<b>x" not in upload(owner, b"name,email\n<b>x</b>,<i>y</i>\n")


# Tests


def new_test(client: Client, **data: object) -> Any:
    given = {"name": "Backend", "minutes": 45, **data}
    return client.post(page("test_new", "acme"), given, follow=True)


def test_a_test_keeps_the_order_given(owner: Client, account: Account) -> None:
    response = new_test(owner, **{"place-leader": 1, "place-equilibrium-index": 2})
    assert "The test “Backend” is ready." in text_of(response)
    with account_context(account.pk):
        test = Test.objects.get()
        slugs = [row.task.slug for row in test.test_tasks.select_related("task")]
    assert (test.minutes, slugs) == (45, ["leader", "equilibrium-index"])


def test_a_test_needs_a_task_and_a_new_name(owner: Client, test: Test) -> None:
    assert "at least one task" in text_of(new_test(owner))
    text = text_of(new_test(owner, **{"name": test.name, "place-leader": 1}))
    assert "of that name already" in text


# A candidate's way


def test_an_unknown_invitation_is_told_kindly(client: Client, account: Account) -> None:
    for slug in ("acme", "no-such-account"):
        response = client.get(page("candidate_home", slug, "WRONGCODE222"))
        assert response.status_code == 404
        assert "cannot find this invitation" in text_of(response)


def test_the_clock_starts_only_by_accepting(
    client: Client, account: Account, session: TestSession
) -> None:
    home = page("candidate_home", "acme", session.code)
    assert "Welcome, Ada Marsh" in text_of(client.get(home))
    refused = client.post(page("candidate_start", "acme", session.code), {})
    assert "Tick this to begin" in text_of(refused)
    assert start(client, session)["Location"] == home
    assert "Your tasks" in text_of(client.get(home))
    with account_context(account.pk):
        session.refresh_from_db()
    assert (session.status, session.country_id) == (TestSession.Status.STARTED, "PL")


def test_tasks_are_closed_before_the_start(client: Client, session: TestSession) -> None:
    address = page("candidate_task", "acme", session.code, "equilibrium-index")
    assert "Accept the invitation first" in text_of(client.get(address, follow=True))


def test_the_example_is_checked_at_once(client: Client, session: TestSession) -> None:
    start(client, session)
    address = page("candidate_check", "acme", session.code, "equilibrium-index")
    assert "Right." in text_of(client.post(address, {"output": "3"}))
    assert "Wrong:" in text_of(client.post(address, {"output": "5"}))
    assert "expected one line" in text_of(client.post(address, {"output": ""}))


def test_the_input_is_the_sessions_own(client: Client, session: TestSession) -> None:
    start(client, session)
    response = client.get(page("candidate_input", "acme", session.code, "equilibrium-index"))
    problem = library.get("equilibrium-index")
    assert text_of(response) == library.input_file(problem, session.code)
    assert response["Content-Disposition"].startswith("attachment")


def test_a_task_of_no_part_of_the_test_is_not_found(client: Client, session: TestSession) -> None:
    start(client, session)
    for slug in ("hedge-maze", "no-such-task"):
        address = page("candidate_task", "acme", session.code, slug)
        assert client.get(address).status_code == 404


def test_the_last_output_counts(client: Client, account: Account, session: TestSession) -> None:
    start(client, session)
    hand_in(client, session, "equilibrium-index", text="1\n2\n")
    file = io.BytesIO("7\r\n8".encode("utf-16"))
    file.name = "output.txt"
    response = hand_in(client, session, "equilibrium-index", file=file, text="pasted")
    assert response.status_code == 302
    with account_context(account.pk):
        assert Answer.objects.get().output.split() == ["7", "8"]


@pytest.mark.parametrize("way", ["file", "text"])
def test_too_large_an_output_is_told(
    client: Client, account: Account, session: TestSession, way: str
) -> None:
    start(client, session)
    large = "1\n" * library.MAX_OUTPUT_BYTES
    file = io.BytesIO(large.encode())
    file.name = "output.txt"
    response = hand_in(
        client, session, "equilibrium-index", **{way: file if way == "file" else large}
    )
    assert response.status_code == 200
    assert "are accepted" in text_of(response) or "bytes at most" in text_of(response)


def test_a_form_beyond_every_limit_is_told(client: Client, session: TestSession) -> None:
    start(client, session)
    response = hand_in(client, session, "equilibrium-index", text="1" * (5 * 2**20))
    assert response.status_code == 413
    assert "too much for one form" in text_of(response)


def test_nothing_given_is_told(client: Client, session: TestSession) -> None:
    start(client, session)
    assert "Choose a file" in text_of(hand_in(client, session, "equilibrium-index", text=""))


def test_after_the_time_nothing_goes_in(
    client: Client, account: Account, session: TestSession
) -> None:
    start(client, session)
    with account_context(account.pk):
        TestSession.objects.update(deadline=timezone.now() - timedelta(hours=2))
    response = client.post(
        page("candidate_task", "acme", session.code, "equilibrium-index"),
        {"text": "1"},
        follow=True,
    )
    assert "This session is finished" in text_of(response)
    with account_context(account.pk):
        assert TestSession.objects.get().status == TestSession.Status.FINISHED


def test_the_whole_way_to_a_full_score(
    client: Client,
    account: Account,
    session: TestSession,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    start(client, session)
    with account_context(account.pk):
        slugs = list(session.test.test_tasks.values_list("task__slug", flat=True))
    for slug in slugs:
        hand_in(client, session, slug, text=library.solution_file(library.get(slug), session.code))
    asked = client.get(page("candidate_finish", "acme", session.code))
    assert "an output for every task" in text_of(asked)
    with django_capture_on_commit_callbacks(using=shard_of(account.pk)):
        client.post(page("candidate_finish", "acme", session.code))
    report = page("report", "acme", session.code)
    assert "not ready yet" in text_of(log_in(client).get(report))
    judge(account, session)
    text = text_of(client.get(report))
    assert '<p class="figure">100<small>%</small></p>' in text
    assert "200 out of 200 points" in text
    thanks = client.get(page("candidate_home", "acme", session.code))
    assert "Thank you, Ada Marsh" in text_of(thanks)


def judge(account: Account, session: TestSession) -> None:
    from assessments.judging import judge_session

    with account_context(account.pk):
        assert judge_session(session.pk)


def test_finishing_is_asked_for(client: Client, account: Account, session: TestSession) -> None:
    start(client, session)
    text = text_of(client.get(page("candidate_finish", "acme", session.code)))
    assert "2 of 2 tasks have no output yet" in text
    with account_context(account.pk):
        session.refresh_from_db()
    assert session.status == TestSession.Status.STARTED


def test_a_finished_session_cannot_be_worked_on(
    client: Client, account: Account, session: TestSession
) -> None:
    start(client, session)
    client.post(page("candidate_finish", "acme", session.code))
    for address in (
        page("candidate_task", "acme", session.code, "equilibrium-index"),
        page("candidate_finish", "acme", session.code),
        page("candidate_start", "acme", session.code),
    ):
        response = client.post(address, {"text": "1", "accept": "on"}, follow=True)
        assert response.status_code == 200
        assert "Thank you" in text_of(response)


# Report


def test_the_report_shows_what_was_submitted(
    owner: Client, account: Account, session: TestSession
) -> None:
    start(owner, session)
    hand_in(owner, session, "equilibrium-index", text="<b>4</b>\n")
    text = text_of(owner.get(page("report", "acme", session.code)))
    assert "&lt;b&gt;4&lt;/b&gt;" in text
    assert "The candidate is at work" in text
    whole = owner.get(page("answer_output", "acme", session.code, "equilibrium-index"))
    assert (text_of(whole).strip(), whole["Content-Type"]) == (
        "<b>4</b>",
        "text/plain; charset=utf-8",
    )
    assert owner.get(page("answer_output", "acme", session.code, "leader")).status_code == 404


def test_performance_may_be_not_assessed(
    owner: Client, account: Account, session: TestSession
) -> None:
    start(owner, session)
    hand_in(owner, session, "equilibrium-index", text="1")
    owner.post(page("candidate_finish", "acme", session.code))
    judge(account, session)
    with account_context(account.pk):
        Answer.objects.update(performance=None)
    assert "not assessed" in text_of(owner.get(page("report", "acme", session.code)))


# A server that is away


def raise_away(*args: object, **kwargs: object) -> None:
    raise OperationalError("connection refused")


def test_a_shard_away_is_told_without_a_query(
    owner: Client, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assessments.selectors.dashboard", raise_away)
    response = owner.get(page("dashboard", "acme"))
    assert response.status_code == 503
    assert response["Retry-After"]
    assert f"<strong>{shard_of(account.pk)}</strong> does not answer" in text_of(response)
    assert "Only the accounts on it are affected" in text_of(response)


def test_the_catalog_away_is_told_too(
    owner: Client, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account is looked up before any view, where process_exception does not reach."""
    monkeypatch.setattr("accounts.selectors.account_of_slug", raise_away)
    owner.raise_request_exception = False
    with counted_queries() as queries:
        response = owner.get(page("dashboard", "acme"))
    assert response.status_code == 503
    assert "no account can be opened" in text_of(response)
    assert queries == []


def test_a_mistake_of_ours_is_told(
    owner: Client, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assessments.selectors.dashboard", lambda: 1 / 0)
    owner.raise_request_exception = False
    response = owner.get(page("dashboard", "acme"))
    assert response.status_code == 500
    assert "Something went wrong on our side" in text_of(response)
