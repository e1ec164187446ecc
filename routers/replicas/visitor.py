"""What a visitor has written goes with the visitor: positions in a signed cookie.

They come on top of what Redis knows, and count where Redis has lost a write. The cookie is the part
of the visitor's session that must not need a database: it is there for people who are not logged
in, and while the catalog is away. It lives as long as Redis may hold something older.
"""

from collections.abc import Mapping
from functools import cache
from typing import TypeVar

from django.conf import settings as django_settings
from django.core import signing
from django.http import HttpRequest, HttpResponseBase

from routers.conf import settings
from routers.replicas.positions import is_lsn
from routers.replicas.units import Unit, begin, end

__all__ = ["COOKIE", "begin_request", "end_request", "keep", "positions_in", "taken_along"]

COOKIE = "routers_written"
MOST_NAMES = 20  # a cookie is small

Response = TypeVar("Response", bound=HttpResponseBase)


def begin_request(request: HttpRequest) -> Unit | None:
    """Begin the request's unit of work, for `end_request`; None where there are no replicas."""
    if not settings().recorded:
        return None
    return begin(cache(lambda: _brought(request)))


end_request = end


def keep(response: Response, unit: Unit | None) -> Response:
    """The response; what the unit has written goes with it."""
    if unit is not None and unit.recorded:
        response.set_cookie(
            COOKIE,
            signing.dumps(taken_along(unit), salt=COOKIE),
            max_age=settings().replica_memory_seconds,
            secure=django_settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )
    return response


def taken_along(unit: Unit) -> dict[str, str]:
    """Name → position: what the unit has written, and what was brought to it; the newest of it."""
    brought = {n: lsn for n, lsn in unit.visitor().items() if n not in unit.recorded}
    return dict(list((brought | unit.recorded).items())[-MOST_NAMES:])


def positions_in(given: Mapping[str, object]) -> Mapping[str, str]:
    """What `taken_along` gave, on the other side; anything else in it is left out."""
    return {name: str(lsn) for name, lsn in given.items() if is_lsn(lsn)}


def _brought(request: HttpRequest) -> Mapping[str, str]:
    """Name → position; nothing from a cookie that is not ours, or older than it should be."""
    try:
        given = signing.loads(
            request.COOKIES[COOKIE], salt=COOKIE, max_age=settings().replica_memory_seconds
        )
    except (KeyError, signing.BadSignature):
        return {}
    return positions_in(given)
