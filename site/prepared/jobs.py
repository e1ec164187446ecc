"""The Celery task that makes an answer."""

from celery import shared_task

from prepared.answers import prepared

__all__ = ["prepare"]


@shared_task
def prepare(name: str, key: str, token: str) -> None:
    """Make the answer under the lease of this token. Late or twice, it does nothing."""
    prepared(name).refresh(key, token=token)
