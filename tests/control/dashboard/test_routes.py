"""The dashboard's files: what is served, with which headers, and that nothing else is."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from starlette.applications import Starlette

import moorage.control.dashboard
from moorage.control.dashboard.routes import POLICY, TYPES, routes, site
from tests.support.asgi import ask

STATIC = Path(moorage.control.dashboard.__file__).parent / "static"
APP = Starlette(routes=list(routes(enabled=lambda: True)))
FILES = {str(path.relative_to(STATIC)): path for path in STATIC.rglob("*") if path.is_file()}


def address(name: str, version: str = "") -> str:
    return f"/dashboard/assets/{version or site().version}/{name}"


async def test_the_page_names_every_module_of_its_version() -> None:
    answer = await ask(APP, "/dashboard")
    text = answer.body.decode()
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    named = re.findall(r'(?:href|src)="dashboard/assets/([^/]+)/([^"]+)"', text)
    assert {version for version, _ in named} == {site().version}
    assert {name for _, name in named if name.endswith(".js")} == {
        name for name in FILES if name.endswith(".js")
    }
    assert all(name in FILES for _, name in named)
    assert "{" not in text, "nothing is left to be filled in"


def test_the_page_has_no_script_or_style_of_its_own() -> None:
    text = site().page.body.decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)
    assert re.findall(r"<script[^>]*>([^<]*)</script>", text) == [""]


@pytest.mark.parametrize("name", sorted(FILES.keys() - {"index.html"}))
async def test_a_file_is_kept_for_ever(name: str) -> None:
    answer = await ask(APP, address(name))
    assert (answer.status, answer.body) == (200, FILES[name].read_bytes())
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"] == TYPES[Path(name).suffix]


@pytest.mark.parametrize("path", ["/dashboard", address("app.js"), "/dashboard/", address("app.js", "other")])
async def test_every_answer_is_protected(path: str) -> None:
    headers = (await ask(APP, path)).headers
    assert headers["content-security-policy"] == POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"


def test_the_policy_allows_nothing_inline_and_no_frames() -> None:
    rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))
    assert (
        rules["default-src"]
        == rules["frame-ancestors"]
        == rules["base-uri"]
        == rules["form-action"]
        == "'none'"
    )
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert "unsafe" not in POLICY


async def test_a_browser_that_has_the_file_gets_no_body() -> None:
    first = await ask(APP, "/dashboard")
    again = await ask(APP, "/dashboard", headers={"if-none-match": f'"other", W/{first.headers["etag"]}'})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert again.headers["content-security-policy"] == POLICY
    assert (await ask(APP, "/dashboard", headers={"if-none-match": '"other"'})).status == 200


async def test_compressed_if_the_browser_takes_that() -> None:
    plain = await ask(APP, address("app.js"))
    packed = await ask(APP, address("app.js"), headers={"accept-encoding": "br, gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["etag"] != plain.headers["etag"], "two bodies, two tags"
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"


async def test_a_page_of_another_release_gets_what_there_is_and_does_not_keep_it() -> None:
    answer = await ask(APP, address("app.js", "0123456789ab"))
    assert (answer.status, answer.body) == (200, FILES["app.js"].read_bytes())
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        address("../routes.py"),
        address("..%2froutes.py"),
        address("pages/../app.js"),
        address("./app.js"),
        address("/app.js"),
        address("app.js/"),
        address("app.js\0"),
        address("APP.JS"),
        address("index.html"),
        address(""),
        "/dashboard/assets",
        "/dashboard/assets/",
        "/dashboard/assets/app.js",
        "/dashboard/assets//etc/passwd",
        "/dashboard/assets/x/../../../../../../etc/passwd",
        "/dashboard/index.html",
        "/dashboard//",
        "//dashboard",
        "/Dashboard",
    ],
)
async def test_no_other_path_leads_to_a_file(path: str) -> None:
    # Starlette sends the browser from a path with a slash at its end to that without one, and vice versa.
    assert (await ask(APP, path)).status in {307, 404}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_files_are_only_read(method: str) -> None:
    answer = await ask(APP, "/dashboard", method)
    assert (answer.status, set(answer.headers["allow"].split(", "))) == (405, {"GET", "HEAD"})


async def test_a_slash_at_the_end_leads_to_the_page() -> None:
    answer = await ask(APP, "/dashboard/")
    assert (answer.status, answer.headers["location"]) == (308, "../dashboard")


@pytest.mark.parametrize("path", ["/dashboard", "/dashboard/", address("app.js")])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_without_an_admin_key_the_paths_are_unknown(path: str, method: str) -> None:
    on = True
    app = Starlette(routes=list(routes(enabled=lambda: on)))
    assert (await ask(app, path)).status < 400
    on = False
    assert (await ask(app, path, method)).status == 404
