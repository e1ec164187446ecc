"""How an answer is told: 200, 304, 202 or 503, and who may keep it."""

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from prepared import Answer, State, answered

THERE = Answer(State.FRESH, "value", 1_700_000_000.0, "abc")


def request(**headers: str) -> HttpRequest:
    return RequestFactory().get("/", headers=headers)


def page(answer: Answer) -> HttpResponse:
    return HttpResponse(f"{answer.state.value}: {answer.value}")


@pytest.mark.parametrize("state", [State.FRESH, State.STALE])
def test_one_page_for_everybody(state: State) -> None:
    answer = Answer(state, "value", 1_700_000_000.0, "abc")
    response = answered(request(), answer, page)
    assert (response.status_code, response["ETag"]) == (200, '"abc"')
    assert response["Cache-Control"] == "public, max-age=5, stale-while-revalidate=50"
    assert response["Cache-Status"] == f"prepared; hit; detail={state.value}"
    assert not response.has_header("Vary")


def test_what_the_browser_has_is_not_made_again() -> None:
    def refuse(answer: Answer) -> HttpResponse:
        raise AssertionError("made for nothing")

    response = answered(request(**{"If-None-Match": '"abc"'}), THERE, refuse)
    assert (response.status_code, response["ETag"]) == (304, '"abc"')
    assert answered(request(**{"If-None-Match": '"old"'}), THERE, page).status_code == 200


@pytest.mark.parametrize(("state", "status"), [(State.PENDING, 202), (State.REFUSED, 503)])
def test_none_yet(state: State, status: int) -> None:
    response = answered(request(**{"If-None-Match": '""'}), Answer(state), page)
    assert (response.status_code, response["Retry-After"]) == (status, "1")
    assert response["Cache-Control"] == "no-store"
    assert response["Cache-Status"] == f"prepared; fwd=miss; detail={state.value}"
    assert not response.has_header("ETag")
