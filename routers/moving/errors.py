"""What can go wrong with a move. Each message names what was seen and the command that mends it."""

from routers.exceptions import RoutingError

__all__ = ["ContentDiffers", "MoveRefused", "MoveUndone", "MoveUnsettled"]


class MoveRefused(RoutingError):
    """The move was not begun, or cannot go on; nothing has changed its owner."""


class ContentDiffers(MoveRefused):
    """What the target holds is not what the source has."""


class MoveUndone(RoutingError):
    """The move failed and everything is as before. The cause is chained."""


class MoveUnsettled(RoutingError):
    """The move failed, and could not be finished or undone, since a server is away."""
