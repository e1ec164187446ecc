"""nginx at the front, as rendered; the lab proves that it takes it."""

import re

import pytest

from infra.authority import Authority
from infra.credentials import Credentials
from infra.hosts import Cluster, Facts, files, variables
from infra.hosts.balancer import UPSTREAMS, upstream
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


def test_each_app_host_has_a_file_by_which_it_is_drained(description: Description) -> None:
    found = rendered(description)
    assert sorted(found) == [
        f"{UPSTREAMS}/app1.conf",
        f"{UPSTREAMS}/app2.conf",
        "/etc/nginx/nginx.conf",
    ]
    assert found[f"{UPSTREAMS}/app1.conf"] == (
        "server 192.0.2.21:8000 max_fails=3 fail_timeout=5s; # app1\n"
    )
    drained = upstream(description, description.apps[0], drained=True)
    assert drained.path == f"{UPSTREAMS}/app1.conf"
    assert drained.content == "server 192.0.2.21:8000 down; # app1\n"


def test_the_role_app_drains_with_the_files_that_the_balancer_includes(
    description: Description,
) -> None:
    cluster = Cluster(description, Credentials.generate(), Authority("", ""))
    found = variables("app", cluster, "app2", FACTS)
    assert found["serving"]["content"] == rendered(description)[found["serving"]["path"]]
    assert found["drained"]["path"] == found["serving"]["path"]
    assert f"include {UPSTREAMS}/*.conf;" in rendered(description)["/etc/nginx/nginx.conf"]


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
