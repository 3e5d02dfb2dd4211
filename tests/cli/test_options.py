"""What several commands share."""

from __future__ import annotations

import pytest

from moorage.cli.options import local_url
from moorage.edge.settings import ServerSettings, TlsSettings

TLS = TlsSettings(cert_file="x")


@pytest.mark.parametrize(
    ("server", "url"),
    [
        (ServerSettings(host="0.0.0.0", port=1), "http://127.0.0.1:1"),
        (ServerSettings(host="::", port=1, tls=TLS), "https://127.0.0.1:1"),
        (ServerSettings(host="::1", port=1, tls=TLS), "https://[::1]:1"),
    ],
)
def test_the_url_on_this_machine(server: ServerSettings, url: str) -> None:
    assert local_url(server) == url
