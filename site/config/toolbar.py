"""django-debug-toolbar: what a page asks of every shard and of the cache. In development only.

`FULCRUM_DEBUG=1 python site/manage.py runserver` shows it, where the package is installed: no
release has it. Its files come from this site, so the Content-Security-Policy stands as it is.
"""

from importlib.util import find_spec

from django.urls import URLPattern, URLResolver

__all__ = ["APP", "MIDDLEWARE", "PANELS", "is_wanted", "pages"]

APP = "debug_toolbar"
MIDDLEWARE = "debug_toolbar.middleware.DebugToolbarMiddleware"
PANELS = [
    *("debug_toolbar.panels.timer.TimerPanel", "debug_toolbar.panels.sql.SQLPanel"),
    "caching.panel.CachingPanel",
    "debug_toolbar.panels.templates.TemplatesPanel",
    "debug_toolbar.panels.request.RequestPanel",
    "debug_toolbar.panels.headers.HeadersPanel",
    "debug_toolbar.panels.signals.SignalsPanel",
]


def is_wanted(debug: bool) -> bool:
    """Whether the settings are to have it."""
    return debug and find_spec(APP) is not None


def pages(installed: list[str]) -> list[URLPattern | URLResolver]:
    """Its addresses, none where it is not in INSTALLED_APPS."""
    if APP not in installed:
        return []
    from debug_toolbar.toolbar import debug_toolbar_urls

    return list(debug_toolbar_urls())
