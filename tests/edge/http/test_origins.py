"""Which origins an entry of `cors.allow_origins` means."""

from __future__ import annotations

import pytest

from moorage.edge.http.origins import Origins, canonical, canonical_entry
from moorage.edge.settings import CorsSettings

pytestmark = pytest.mark.repair(6)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://app.example", "https://app.example"),
        ("HTTPS://App.Example:443", "https://app.example"),
        ("http://app.example:80", "http://app.example"),
        ("http://app.example:443", "http://app.example:443"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ("null", "null"),
        ("", None),
        ("*", None),
        ("app.example", None),
        ("https://", None),
        ("https://a/b", None),
        ("https://a?b", None),
        ("https://u@a", None),
        ("https://a,https://b", None),
        ("https://a.", None),
        ("https://.a", None),
        ("https://a\n", None),
        ("https://b\xfccher.example", None),
        ("https://" + "a" * 300, None),
    ],
)
def test_an_origin(text: str, found: str | None) -> None:
    assert canonical(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("*", "*"),
        ("null", "null"),
        ("ionic://localhost", "ionic://localhost"),
        ("https://*.Example.org:443", "https://*.example.org"),
        ("https://*", None),
        ("https://*.", None),
        ("https://a.*.example", None),
        ("https://*.*.example", None),
        ("https://*.[::1]", None),
        ("*.example.org", None),
    ],
)
def test_an_entry(text: str, found: str | None) -> None:
    assert canonical_entry(text) == found


@pytest.mark.parametrize(
    ("origin", "trusted"),
    [
        ("https://a.example.org", True),
        ("https://a.b.example.org", True),
        ("https://A.EXAMPLE.org", True),
        ("https://example.org", False),
        ("http://a.example.org", False),
        ("https://a.example.org:8443", False),
        ("https://aexample.org", False),
        ("https://a.example.org.evil.example", False),
        ("https://evil.example/.example.org", False),
        ("https://evil.example#.example.org", False),
        ("https://.example.org", False),
        ("https://evil.example:1.example.org", False),
    ],
)
def test_a_pattern(origin: str, trusted: bool) -> None:
    origins = Origins(CorsSettings(allow_origins=("https://*.example.org",)))
    assert origins.trusts(origin) is origins.allows(origin) is trusted


def test_everyone_may_connect_but_only_listed_origins_are_trusted() -> None:
    origins = Origins(CorsSettings(allow_origins=("*", "null")))
    assert origins.allows("https://a.example") and not origins.trusts("https://a.example")
    assert origins.trusts("null")
    assert Origins(CorsSettings(credentials="any")).trusts("https://a.example")
    assert not Origins(CorsSettings(allow_origins=(), credentials="any")).trusts("https://a.example")
