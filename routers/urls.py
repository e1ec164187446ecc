"""/healthz, /readyz and /metrics, for a project that includes them rather than the middleware."""

from django.urls import path

from routers.health.views import PROBES

urlpatterns = [path(where.lstrip("/"), view) for where, view in PROBES.items()]
