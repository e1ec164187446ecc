"""How far a session is, in a few bytes: what a report's page asks until it is ready."""

from django.http import Http404, HttpResponseBase, JsonResponse
from django.utils.cache import get_conditional_response
from django.utils.http import quote_etag
from django.views.decorators.http import require_safe

from accounts.access import MemberRequest, member_required
from assessments.models import TestSession

__all__ = ["report_state"]

Status = TestSession.Status
AGAIN_SECONDS = {Status.INVITED: 20, Status.STARTED: 10, Status.FINISHED: 1, Status.CLOSED: 0}


@member_required
@require_safe
def report_state(request: MemberRequest, code: str) -> HttpResponseBase:
    """{"status", "ready", "again"}: one query on the shard, and 304 while it is the same.

    "again" is how many seconds to wait before asking a second time; then longer each time.
    """
    found = TestSession.objects.filter(code=code.upper()).values_list("status", flat=True)
    status = found.first() if code.isalnum() else None
    if status is None:
        raise Http404
    etag = quote_etag(status)
    state = {"status": status, "ready": status == Status.CLOSED, "again": AGAIN_SECONDS[status]}
    response = get_conditional_response(request, etag=etag) or JsonResponse(state)
    response["ETag"] = etag
    return response
