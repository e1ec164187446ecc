"""Demo data for the browser tests, made through the services; needs Django to be set up."""

from datetime import timedelta

from django.utils import timezone

from accounts.models import Account, Membership, User
from accounts.services import account_create, membership_set
from assessments import services
from assessments.judging import judge_session
from assessments.models import Answer, Candidate, Test, TestSession
from contests.models import Contest
from contests.services import contest_create, contest_join
from routers import account_context
from tasks import library
from tasks.models import Country, Task

__all__ = ["fill"]

PASSWORD = "balance-beam-7"
PEOPLE = (
    "Ada Marsh",
    "Bertrand Okafor",
    "Chiyo Tanaka",
    "Dmitri Sokolov",
    "Eilidh Fraser",
    "Farid Haddad",
    "Giulia Moretti",
    "Henrik Aalto",
    "Ines Carvalho",
    "<script>alert('name')</script>",
    "Johann-Sebastian Freiherr von und zu Oberammergau-Hinterzarten",
    "Kwame Mensah",
)
SESSIONS = 60


def fill() -> dict[str, str]:
    """One account with everything in it, one with nothing; returns names and codes."""
    owner = User.objects.create_user("owner@example.com", PASSWORD, name="Olive Owner")
    viewer = User.objects.create_user("viewer@example.com", PASSWORD)
    both = User.objects.create_user("both@example.com", PASSWORD)
    User.objects.create_user("nobody@example.com", PASSWORD)
    harbour = account_create(
        slug="harbour", name="Harbour Freight", owner=owner, plan=Account.Plan.TEAM, credits=500
    )
    quarry = account_create(slug="quarry", name="Quarry & Sons", owner=both)
    membership_set(user=viewer, account=harbour, role=Membership.Role.VIEWER)
    membership_set(user=both, account=harbour, role=Membership.Role.RECRUITER)
    with account_context(harbour.pk):
        codes = _sessions()
    codes["contest_invited"] = _contests(harbour, quarry)
    return {"password": PASSWORD, "empty": quarry.slug, "account": harbour.slug, **codes}


def _sessions() -> dict[str, str]:
    tests = _tests()
    for number in range(SESSIONS):
        _session(number, tests[number % len(tests)])
    return {
        "judged": _judged(tests[0]),
        "open": _started(tests[0], "open@example.com", "Olga Open"),
        "invited": services.session_invite(
            test=tests[0], email="invited@example.com", name="Ivo Invited"
        ).code,
        "to_start": services.session_invite(
            test=tests[0], email="to.start@example.com", name="Stella Start"
        ).code,
        "waiting": _waiting(tests[0]),
        "over": _over(tests[0]),
    }


def _tests() -> list[Test]:
    chosen = {
        "Backend engineer": ["equilibrium-index", "leader", "ways-to-pay"],
        "Data engineer": ["best-run", "first-free-number"],
        "Graduate programme": ["equilibrium-index"],
    }
    known = {task.slug: task for task in Task.objects.order_by("pk")}
    everything = list(known.values())
    return [
        services.test_create(
            name=name,
            minutes=60 + 15 * number,
            tasks=[known[slug] for slug in slugs if slug in known] or everything[:2],
        )
        for number, (name, slugs) in enumerate(chosen.items())
    ]


def _session(number: int, test: Test) -> None:
    name = PEOPLE[number % len(PEOPLE)]
    session = services.session_invite(test=test, email=f"person{number}@example.com", name=name)
    session.created_at = timezone.now() - timedelta(hours=7 * number + 1)
    if number % 4:
        session.started_at = session.created_at + timedelta(minutes=20)
        session.finished_at = session.judged_at = session.started_at + timedelta(minutes=50)
        session.status = TestSession.Status.CLOSED
        session.maximum = 100 * test.test_tasks.count()
        session.score = session.maximum * (number * 37 % 101) // 100
        session.similarity = number * 13 % 100 if number % 3 else None
        session.country = Country.objects.get(code="PL")
    session.save()


def _started(test: Test, email: str, name: str) -> str:
    session = services.session_invite(test=test, email=email, name=name)
    return services.session_start(session).code


def _answered(test: Test, email: str, name: str) -> TestSession:
    code = _started(test, email, name)
    session = TestSession.objects.select_related("test").get(code=code)
    for place in test.test_tasks.select_related("task"):
        right = library.solution_file(library.get(place.task.slug), code).splitlines()
        kept = len(right) - place.position + 1
        services.answer_submit(session, task=place.task, output="\n".join(right[:kept]))
    return session


def _judged(test: Test) -> str:
    session = _answered(test, "judged@example.com", "Judith Judged")
    ended = timezone.now()
    TestSession.objects.filter(pk=session.pk).update(
        status=TestSession.Status.FINISHED,
        created_at=ended - timedelta(days=2),
        started_at=ended - timedelta(minutes=48),
        finished_at=ended,
    )
    for place, answer in enumerate(Answer.objects.filter(session=session).order_by("pk")):
        submitted = ended - timedelta(minutes=35 - 12 * place)
        Answer.objects.filter(pk=answer.pk).update(submitted_at=submitted)
    judge_session(session.pk)
    return session.code


def _waiting(test: Test) -> str:
    session = _answered(test, "waiting@example.com", "Wanda Waiting")
    TestSession.objects.filter(pk=session.pk).update(
        status=TestSession.Status.FINISHED, finished_at=timezone.now()
    )
    return session.code


def _over(test: Test) -> str:
    code = _started(test, "over@example.com", "Otto Over")
    TestSession.objects.filter(code=code).update(deadline=timezone.now() - timedelta(seconds=5))
    return code


def _contests(*accounts: Account) -> str:
    """One that runs, with results from all the accounts, one ahead, one over; an invitation."""
    chosen = list(Task.objects.order_by("pk")[:3])
    for slug, name, begins, ends in (
        ("spring-open", "Spring Open", -30, 18),
        ("night-shift", "Night Shift", 70, 72),
        ("winter-cup", "Winter Cup", -900, -800),
    ):
        contest_create(
            slug=slug,
            name=name,
            about="Three tasks, large inputs, one evening.",
            starts_at=timezone.now() + timedelta(hours=begins),
            ends_at=timezone.now() + timedelta(hours=ends),
            tasks=chosen,
        )
    contest = Contest.objects.get(slug="spring-open")
    for number, account in enumerate(accounts):
        with account_context(account.pk):
            _results(contest, number)
    with account_context(accounts[0].pk):
        test = contest_join(contest)
        return services.session_invite(
            test=test, email="cora@example.com", name="Cora Contest"
        ).code


def _results(contest: Contest, number: int) -> None:
    test = contest_join(contest)
    countries = ("PL", "BR", "JP", None, "KE")
    for place, name in enumerate(PEOPLE):
        email = f"contest{place}.{number}@example.com"
        candidate = Candidate.objects.create(email=email, name=name)
        finished = timezone.now() - timedelta(hours=place + 1)
        TestSession.objects.create(
            test=test,
            candidate=candidate,
            status=TestSession.Status.CLOSED,
            started_at=finished - timedelta(minutes=30 + 7 * place, seconds=number),
            finished_at=finished,
            judged_at=finished,
            score=(place * 37 + number * 50) % 301,
            maximum=300,
            country_id=countries[place % len(countries)],
        )
