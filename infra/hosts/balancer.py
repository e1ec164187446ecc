"""nginx at the front: TLS, static files, and an app host that answers for each request."""

__all__ = ["DRAINED", "files", "variables"]

from typing import Any
from urllib.parse import urlsplit

from infra.hosts import Cluster, Facts, HostFile
from infra.templating import template

CONFIG = "/etc/nginx/nginx.conf"
DRAINED = "/etc/nginx/fulcrum/drained"
"""A file here of an app host's name: the host gets no more requests, while there is another."""

STATIC = "/srv/fulcrum/current"
TIMEOUT_SECONDS = 35
"""A little more than gunicorn gives a request, so that its answer is the one that is seen."""


def files(cluster: Cluster, host: str, facts: Facts) -> list[HostFile]:
    d = cluster.description
    public = urlsplit(d.site.public_url)
    config = template(
        "nginx.conf",
        public_name=public.hostname or "",
        port=public.port or 443,
        allowed_hosts=sorted(d.site.allowed_hosts),
        apps={app.host: f"{d.addresses[app.host]}:{app.port}" for app in d.apps},
        drained=DRAINED,
        static=STATIC,
        tls="/etc/fulcrum/tls",
        timeout=TIMEOUT_SECONDS,
    )
    return [HostFile(CONFIG, config)]


def variables(cluster: Cluster, host: str, facts: Facts) -> dict[str, Any]:
    """`encrypted`: whether the site's address is one of TLS. `drained`: a folder."""
    public_url = cluster.description.site.public_url
    return {"encrypted": public_url.startswith("https://"), "drained": DRAINED}
