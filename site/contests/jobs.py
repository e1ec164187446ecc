"""Beat keeps the boards of running contests new."""

from celery import shared_task

from contests.boards import BOARD, running

__all__ = ["renew_boards"]


@shared_task
def renew_boards() -> int:
    """Count the boards that run anew; a board that somebody else is counting is left to them."""
    return sum(BOARD.refresh(slug) for slug in running())
