"""What a server's process has beside its requests.

Queries are counted, a catalog that is away is left alone, and the shard map stays new.
"""

import os
import socket
from pathlib import Path

from django.conf import settings

__all__ = ["start"]


def start() -> None:
    """For wsgi.py and Celery's worker_init. Commands and tests never call it."""
    # Read by prometheus_client when it is imported. All processes of a host count there together;
    # of a host, because the process ids in the files' names say who still lives.
    directory = Path(settings.CLUSTER["directory_state"]) / "metrics" / socket.gethostname()
    directory.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", str(directory))
    from routers import catalog, map_watch, metrics

    catalog.guard()
    metrics.start()
    map_watch.start()
