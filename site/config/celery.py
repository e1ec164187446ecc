"""The Celery application. Tasks live in each app's `jobs` module, and keep their account."""

import os

from celery import Celery
from celery.signals import worker_init

from routers.celery import carry_account

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("fulcrum", task_cls="routers.celery:AccountTask")  # refused by a move: run again
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(related_name="jobs")
carry_account()


@worker_init.connect
def start_process(**kwargs: object) -> None:
    """A worker keeps its map new as the web server does; a forked child starts its own watcher."""
    from config import processes

    processes.start()
