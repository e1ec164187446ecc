"""Whether this process lives, whether it can serve, and how: /healthz, /readyz, /metrics.

Two ways to have them: `ProbeMiddleware` as the first middleware, which answers whatever host name a
probe uses and before anything that could need a database; or `path("", include("routers.urls"))`.
The inside (names of shards, errors, versions) is shown to SHARDING["PROBE_NETWORKS"] and to whoever
brings SHARDING["PROBE_TOKEN"]. A request that a proxy passed on needs the token: its address is the
proxy's.
"""

import secrets
from collections.abc import Callable
from dataclasses import asdict
from ipaddress import ip_address

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from routers.conf import settings
from routers.health.readiness import report

__all__ = ["PROBES", "ProbeMiddleware", "healthz", "metrics", "readyz"]

FORWARDED = ("X-Forwarded-For", "Forwarded", "X-Real-IP")


@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """200: the process answers. Nothing else is asked."""
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """200 while known accounts can be served, else 503; JSON. Strangers see only which of the two.

    Served means: a map is held, and at least one shard answers.
    """
    now = report()
    content = asdict(now) if _may_look_inside(request) else {"ready": now.ready}
    return JsonResponse(content, status=200 if now.ready else 503, json_dumps_params={"indent": 1})


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format; 403 for strangers."""
    if not _may_look_inside(request):
        text = "Metrics are for SHARDING['PROBE_NETWORKS'], or with SHARDING['PROBE_TOKEN'].\n"
        return HttpResponse(text, status=403, content_type="text/plain")
    from routers.health.metrics import expose

    return HttpResponse(expose(), content_type="text/plain; version=0.0.4; charset=utf-8")


def _may_look_inside(request: HttpRequest) -> bool:
    """Whoever has the token; or a direct client from the named networks."""
    token = settings().probe_token
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if token and secrets.compare_digest(given.encode(), token.encode()):
        return True
    if any(name in request.headers for name in FORWARDED):
        return False
    try:
        address = ip_address(request.META.get("REMOTE_ADDR") or "")
    except ValueError:
        return False  # a Unix socket: whoever passed the request on is a proxy
    return any(address in network for network in settings().probe_networks)


PROBES: dict[str, Callable[[HttpRequest], HttpResponse]] = {
    "/healthz": healthz,
    "/readyz": readyz,
    "/metrics": metrics,
}


class ProbeMiddleware:
    """Answers the probes before any other middleware. The first in MIDDLEWARE."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        probe = PROBES.get(request.path_info)
        return probe(request) if probe else self.get_response(request)
