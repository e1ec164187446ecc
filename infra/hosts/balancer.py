"""nginx at the front: TLS, static files, and an app host that answers for each request."""

__all__ = ["UPSTREAMS", "files", "upstream", "variables"]

from typing import Any
from urllib.parse import urlsplit

from infra.hosts import Cluster, Facts, HostFile
from infra.schema import App, Description
from infra.templating import template

CONFIG = "/etc/nginx/nginx.conf"
UPSTREAMS = "/etc/nginx/fulcrum/app"
STATIC = "/srv/fulcrum/current"
TIMEOUT_SECONDS = 35
"""A little more than gunicorn gives a request, so that its answer is the one that is seen."""


def files(cluster: Cluster, host: str, facts: Facts) -> list[HostFile]:
    """nginx.conf, and a file for each app host, so that one can be drained by itself."""
    d = cluster.description
    public = urlsplit(d.site.public_url)
    config = template(
        "nginx.conf",
        public_name=public.hostname or "",
        port=public.port or 443,
        allowed_hosts=sorted(d.site.allowed_hosts),
        upstreams=UPSTREAMS,
        static=STATIC,
        tls="/etc/fulcrum/tls",
        timeout=TIMEOUT_SECONDS,
    )
    return [HostFile(CONFIG, config), *(upstream(d, app) for app in d.apps)]


def upstream(d: Description, app: App, drained: bool = False) -> HostFile:
    """What the balancers know of one app host. A drained one gets no new request."""
    state = "down" if drained else "max_fails=3 fail_timeout=5s"
    line = f"server {d.addresses[app.host]}:{app.port} {state}; # {app.host}\n"
    return HostFile(f"{UPSTREAMS}/{app.host}.conf", line)


def variables(cluster: Cluster, host: str, facts: Facts) -> dict[str, Any]:
    """`upstreams`: the files of app hosts; others are of hosts that left. `encrypted`: by TLS."""
    d = cluster.description
    return {
        "upstreams": sorted(upstream(d, app).path for app in d.apps),
        "encrypted": d.site.public_url.startswith("https://"),
    }
