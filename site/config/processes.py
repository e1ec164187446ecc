"""What a server's process has beside its requests.

Queries are counted, a catalog that is away is left alone, and the shard map stays new.
"""

import logging
import os
import socket
from pathlib import Path

from django.conf import settings

__all__ = ["start"]

logger = logging.getLogger(__name__)


def start() -> None:
    """For wsgi.py and Celery's worker_init. Commands and tests never call it."""
    _count_together()
    from caching import metrics as caching_metrics
    from routers import catalog
    from routers.health import metrics
    from routers.shard_map import watch

    catalog.guard()
    metrics.start()
    caching_metrics.start()
    watch.start()


def _count_together() -> None:
    """All processes of a host count in one directory; each for itself where it cannot be made.

    Of a host, because the process ids in the files' names say who still lives.
    """
    directory = Path(settings.CLUSTER["directory_state"]) / "metrics" / socket.gethostname()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logger.warning("/metrics shows one process only: %s", error)
    else:
        # Read by prometheus_client when it is imported.
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", str(directory))
