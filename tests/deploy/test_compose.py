"""compose.yaml: its shape, its settings, and its ports."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.checks import DEPLOY, check, compose_file, settings_problems
from tests.support.pages import ROOT

NODES = ["moorage-1", "moorage-2", "moorage-3"]
VALUES = {"ACCESS_KEY": "0123456789abcdef0123", "NATS_TOKEN": "token"}


def filled_in(text: str) -> str:
    """The text with the variables of `.env`."""
    return re.sub(r"\$\{(\w+)(?::\?[^}]*)?\}", lambda found: VALUES[found[1]], text)


@pytest.fixture(name="services")
def _services() -> dict[str, Any]:
    services = compose_file()["services"]
    assert isinstance(services, dict)
    return services


def test_it_follows_the_schema() -> None:
    assert check("compose", compose_file()) == []


def test_the_schema_finds_mistakes() -> None:
    broken = compose_file()
    broken["services"]["nats"]["prots"] = []
    assert check("compose", broken) != []


@pytest.mark.parametrize("name", NODES)
def test_each_node_has_valid_settings(name: str, services: dict[str, Any], tmp_path: Path) -> None:
    settings = {key: filled_in(value) for key, value in services[name]["environment"].items()}
    assert settings_problems(settings, tmp_path) == ""
    assert settings["MOORAGE_CLUSTER_ADVERTISE"] == f"http://{name}:8080"
    assert settings["MOORAGE_CLUSTER_NODE_NAME"] == name


def test_a_wrong_setting_would_be_found(tmp_path: Path) -> None:
    assert "MOORAGE_CLUSTER_NATS_URI" in settings_problems(
        {"MOORAGE_KEYS_PRIMARY": VALUES["ACCESS_KEY"], "MOORAGE_CLUSTER_NATS_URI": "nats://x"}, tmp_path
    )


def test_the_services_are_those_that_are_named(services: dict[str, Any]) -> None:
    assert sorted(services) == sorted(["nats", "nginx", "chat", *NODES])
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        if "build" in service:
            assert (DEPLOY / service["build"]["context"]).resolve() == ROOT
            assert (ROOT / service["build"]["dockerfile"]).is_file()
    assert "@nats:4222" in services["moorage-1"]["environment"]["MOORAGE_CLUSTER_NATS_URL"]
    assert services["nginx"]["volumes"] == ["./nginx.conf:/etc/nginx/conf.d/default.conf:ro"]


def test_only_nginx_and_the_page_are_reached_from_outside(services: dict[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports == {"nginx": ["127.0.0.1:8080:8080", "127.0.0.1:3000:3000"]}
    assert services["chat"]["network_mode"] == "service:nginx"
    assert "Endpoint=http://localhost:8080;" in services["chat"]["environment"]["MOORAGE_CONNECTION_STRING"]
    assert services["moorage-1"]["environment"]["MOORAGE_SERVER_PUBLIC_ENDPOINT"] == "http://localhost:8080"


def test_nginx_is_that_of_the_page_about_load_balancers() -> None:
    page = (ROOT / "docs/howto/load-balancers.md").read_text()
    blocks = re.findall(r"^```nginx\n(.*?)^```$", page, re.S | re.M)
    (site,) = (text for text in blocks if "listen 80" in text)
    servers = "".join(f"    server {name}:8080;\n" for name in NODES)
    site = re.sub(r"(    server [\d.]+:8080;\n)+", servers, site, count=1)
    site = site.replace("listen 80;", "listen 8080;").replace("live.example.org", "localhost")
    comment, _, own = (DEPLOY / "nginx.conf").read_text().partition("\n\n")
    assert comment.startswith("#")
    assert own == site
