"""What several commands share."""

from __future__ import annotations

import ssl
from urllib.error import URLError

import pytest

from moorage.cli.options import local_url, why_unreached
from moorage.edge.settings import ServerSettings, TlsSettings

TLS = TlsSettings(cert_file="x")


@pytest.mark.parametrize(
    ("server", "url"),
    [
        (ServerSettings(host="0.0.0.0", port=1), "http://127.0.0.1:1"),
        (ServerSettings(host="*", port=1), "http://127.0.0.1:1"),
        (ServerSettings(host="::", port=1, tls=TLS), "https://[::1]:1"),
        (ServerSettings(host="10.0.0.11", port=1), "http://10.0.0.11:1"),
        (ServerSettings(host="::1", port=1, tls=TLS), "https://[::1]:1"),
    ],
)
def test_the_url_on_this_machine(server: ServerSettings, url: str) -> None:
    assert local_url(server) == url


def test_an_unknown_authority_has_a_remedy() -> None:
    unknown = ssl.SSLCertVerificationError(1, "certificate verify failed")
    assert "SSL_CERT_FILE" in why_unreached(URLError(unknown))
    assert why_unreached(URLError(ConnectionRefusedError(111, "refused"))) == "[Errno 111] refused"
    assert why_unreached(ValueError("no JSON")) == "no JSON"
