"""The site, with more patience for its monitors than an operator has: the machine may be busy."""

from config.wsgi import application  # first: it sets Django up
from console import live, monitors
from tests.unit.site.console_prometheus import PATIENCE_SECONDS

__all__ = ["application"]

monitors.SECONDS = live.MONITOR_SECONDS = PATIENCE_SECONDS
