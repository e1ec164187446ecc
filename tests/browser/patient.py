"""The site, with more patience than an operator has: the machine may be busy."""

from config.wsgi import application  # first: it sets Django up
from console import databases, live, monitors
from routers.health import readiness
from tests.unit.site.console_prometheus import PATIENCE_SECONDS

__all__ = ["application"]

monitors.SECONDS = live.MONITOR_SECONDS = databases.SECONDS = PATIENCE_SECONDS
readiness.ANSWER_SECONDS = PATIENCE_SECONDS
