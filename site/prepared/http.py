"""How an answer is told over HTTP: one page for everybody, or word that there is none yet."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import get_conditional_response, patch_cache_control
from django.utils.http import quote_etag

from prepared.answers import Answer, State

__all__ = ["answered"]

MAX_AGE_SECONDS = 5
STATUS = {State.PENDING: 202, State.REFUSED: 503}


def answered(
    request: HttpRequest,
    answer: Answer,
    make: Callable[[Answer], HttpResponse],
    *,
    max_age: int = MAX_AGE_SECONDS,
) -> HttpResponseBase:
    """What `make` makes of the answer; 304 without making it where the browser has it already.

    With a value: an ETag, and leave for every cache on the way to keep it for `max_age` seconds.
    Without: 202 or 503, Retry-After, and leave for nobody. Cache-Status (RFC 9211) says which.
    """
    if not answer.is_there:
        response: HttpResponseBase = make(answer)
        response.status_code = STATUS[answer.state]
        response["Retry-After"] = str(answer.retry_after)
        response["Cache-Control"] = "no-store"
        response["Cache-Status"] = f"prepared; fwd=miss; detail={answer.state.value}"
        return response
    etag = quote_etag(answer.digest)
    response = get_conditional_response(request, etag=etag) or make(answer)
    response["ETag"] = etag
    response["Cache-Status"] = f"prepared; hit; detail={answer.state.value}"
    patch_cache_control(response, public=True, max_age=max_age, stale_while_revalidate=10 * max_age)
    return response
