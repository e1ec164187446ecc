"""nginx at the front, as rendered; the lab proves that it takes it."""

import re

import pytest

from infra.authority import Authority
from infra.credentials import Credentials
from infra.hosts import Cluster, Facts, files, variables
from infra.hosts.balancer import DRAINED
from infra.inventory_read import read_inventory
from infra.layout import CHECKOUT
from infra.schema import Description

FACTS = Facts(memory_mb=1024, cores=1)


@pytest.fixture(scope="module")
def description() -> Description:
    return read_inventory(CHECKOUT / "ansible" / "inventories" / "example").description


def rendered(d: Description) -> dict[str, str]:
    cluster = Cluster(d, Credentials.generate(), Authority("", ""))
    return {file.path: file.content for file in files("balancer", cluster, "front1", FACTS)}


def with_url(d: Description, url: str) -> Description:
    return d.model_copy(update={"site": d.site.model_copy(update={"public_url": url})})


def config(d: Description) -> str:
    return rendered(d)["/etc/nginx/nginx.conf"]


def servers(text: str, upstream: str) -> list[str]:
    block = re.search(rf"upstream {upstream} {{(.*?)}}", text, re.S)
    return re.findall(r"server (\S+) ", block[1]) if block else []


def test_a_file_of_an_app_hosts_name_leaves_it_out(description: Description) -> None:
    text = config(description)
    assert servers(text, "site") == ["192.0.2.21:8000", "192.0.2.22:8000"]
    assert servers(text, "without_app1") == ["192.0.2.22:8000"]
    assert servers(text, "without_app2") == ["192.0.2.21:8000"]
    for app in ("app1", "app2"):
        chosen = rf"if \(-f {DRAINED}/{app}\) {{\s+set \$pool without_{app};\s+}}"
        assert re.search(chosen, text), app


def test_the_only_app_host_is_never_left_out(description: Description) -> None:
    text = config(description.model_copy(update={"apps": description.apps[:1]}))
    assert servers(text, "site") == ["192.0.2.21:8000"]
    assert "without_" not in text


def test_the_role_app_drains_by_the_files_that_the_balancer_looks_for(
    description: Description,
) -> None:
    cluster = Cluster(description, Credentials.generate(), Authority("", ""))
    path = variables("app", cluster, "app2", FACTS)["drained"]
    assert f"if (-f {path}) {{" in config(description)


def test_names_and_port_are_the_sites(description: Description) -> None:
    text = rendered(description)["/etc/nginx/nginx.conf"]
    assert "\n        listen 443 ssl default_server;" in text
    assert "return 301 https://fulcrum.example.org$request_uri;" in text
    other = rendered(with_url(description, "https://site.example.org:8443"))
    assert "listen 8443 ssl default_server;" in other["/etc/nginx/nginx.conf"]
    assert "https://site.example.org:8443$request_uri;" in other["/etc/nginx/nginx.conf"]


def test_a_post_is_not_sent_twice_and_a_login_not_too_often(description: Description) -> None:
    text = rendered(description)["/etc/nginx/nginx.conf"]
    assert "proxy_next_upstream error timeout;" in text
    assert "non_idempotent" not in text
    login = re.search(r"location ~ (\S+) \{\s+limit_req zone=login", text)
    assert login
    for path, limited in {"/login/": True, "/admin/login/": True, "/a/login/": False}.items():
        assert bool(re.search(login[1], path)) is limited, path


def test_what_a_client_says_of_itself_does_not_count(description: Description) -> None:
    text = rendered(description)["/etc/nginx/nginx.conf"]
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in text
    assert "$proxy_add_x_forwarded_for" not in text


def test_a_site_without_tls_is_noticed(description: Description) -> None:
    for url, encrypted in (("https://a.example", True), ("http://a.example", False)):
        cluster = Cluster(with_url(description, url), Credentials.generate(), Authority("", ""))
        assert variables("balancer", cluster, "front1", FACTS)["encrypted"] is encrypted
