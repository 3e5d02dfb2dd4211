"""The dashboard's files from a running service: what a browser gets, and what nobody gets."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator

import pytest

from tests.support.service import MoorageProcess

KEY = "the-operate-key-of-the-tests"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with MoorageProcess(f"--set=admin.operate_key={KEY}") as service:
        yield int(service.url.rpartition(":")[2])


def ask(
    port: int, path: str, method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers with names in lower case, and body. The path is sent as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def version(port: int) -> str:
    found = re.search(r'src="dashboard/assets/([0-9a-f]+)/app\.js"', ask(port, "/dashboard")[2].decode())
    assert found
    return found[1]


def test_head_has_the_headers_of_get_and_no_body(port: int) -> None:
    for path in ("/dashboard", f"/dashboard/assets/{version(port)}/app.js"):
        status, headers, body = ask(port, path)
        head = ask(port, path, "HEAD")
        assert (head[0], head[2]) == (status, b"")
        assert head[1] == headers
        assert int(headers["content-length"]) == len(body)


def test_a_browser_asks_again_only_for_the_page(port: int) -> None:
    _, headers, _ = ask(port, "/dashboard")
    again = ask(port, "/dashboard", headers={"If-None-Match": headers["etag"]})
    assert (again[0], again[2]) == (304, b"")
    assert "immutable" in ask(port, f"/dashboard/assets/{version(port)}/app.js")[1]["cache-control"]


@pytest.mark.parametrize(
    "path",
    [
        "/dashboard/assets/{}/../routes.py",
        "/dashboard/assets/{}/..%2froutes.py",
        "/dashboard/assets/{}/%2e%2e/routes.py",
        "/dashboard/assets/{}/..%5croutes.py",
        "/dashboard/assets/{}/%00",
        "/dashboard/assets/{}/app.js%00.css",
        "/dashboard/assets/{}//etc/passwd",
        "/dashboard/assets/{}/%252e%252e/routes.py",
        "/dashboard/assets/../../../../../../../../etc/passwd",
        "/dashboard/%2e%2e/%2e%2e/etc/passwd",
        "/dashboard/assets/{}/__init__.py",
    ],
)
def test_no_path_leads_out_of_the_files(port: int, path: str) -> None:
    status, _, body = ask(port, path.format(version(port)))
    assert status in {400, 404}
    assert b"import" not in body
    assert b"root:" not in body


def test_without_a_key_there_is_no_dashboard() -> None:
    with MoorageProcess(command="serve") as service:
        bare = int(service.url.rpartition(":")[2])
        for path in ("/dashboard", "/dashboard/", "/dashboard/assets/x/app.js", "/dashboard/session"):
            for method in ("GET", "HEAD", "POST"):
                assert ask(bare, path, method, {"Content-Length": "0"})[0] == 404, (method, path)
