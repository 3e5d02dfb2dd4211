"""The files of TLS: what is wrong with them, and which setting is to be changed."""

from __future__ import annotations

import contextlib
import os
import ssl
from pathlib import Path

import msgspec
import pytest

from moorage.edge.settings import TlsSettings
from moorage.edge.tcp.tls import Tls, TlsError, problems, warnings
from tests.support.certificates import DAY, Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority for one test."""
    return Authority(tmp_path)


def settings(authority: Authority, **change: str) -> TlsSettings:
    """Settings that can be used, with a change."""
    pair = authority.make()
    files = {"cert_file": str(pair.cert), "key_file": str(pair.key), **change}
    return msgspec.convert(files, TlsSettings)


def test_no_files_and_good_files(authority: Authority) -> None:
    assert not list(problems(TlsSettings()))
    good = settings(authority)
    assert not list(problems(good))
    assert not list(warnings(good))
    assert not list(warnings(TlsSettings()))
    both = authority.folder / "both.pem"
    both.write_bytes(Path(good.cert_file).read_bytes() + Path(good.key_file).read_bytes())
    assert not list(problems(TlsSettings(cert_file=str(both))))
    assert not list(problems(TlsSettings(ca_file=str(authority.file))))


def test_every_message_names_the_setting_and_the_fault(authority: Authority) -> None:
    other, locked = authority.make("other"), authority.make("locked", password=b"secret")
    another = authority.make("another", with_rsa=True)
    text, wrong, missing, pipe = (authority.folder / name for name in ("text", "wrong", "missing", "pipe"))
    os.mkfifo(pipe)
    text.write_text("hello")
    wrong.write_text("another")
    lock = {"cert_file": str(locked.cert), "key_file": str(locked.key)}
    cases: list[tuple[dict[str, str], str, str]] = [
        ({"cert_file": str(missing)}, "cert_file", "No such file"),
        ({"cert_file": str(text)}, "cert_file", "no certificate in it"),
        ({"cert_file": str(authority.folder)}, "cert_file", "Is a directory"),
        ({"key_file": str(missing)}, "key_file", "No such file"),
        ({"key_file": str(pipe)}, "key_file", "a pipe or a device, where a file is needed"),
        ({"key_file": str(text)}, "key_file", "no private key"),
        ({"key_file": str(other.key)}, "key_file", "not the key of the certificate"),
        ({"key_file": str(another.key)}, "key_file", "not the key of the certificate"),
        ({"key_file": ""}, "cert_file", "no private key"),
        (lock, "key_password_file", "set it"),
        ({**lock, "key_password_file": str(wrong)}, "key_password_file", "not the password"),
        ({**lock, "key_password_file": str(missing)}, "key_password_file", "No such file"),
        ({"ca_file": str(missing)}, "ca_file", "No such file"),
        ({"ca_file": str(text)}, "ca_file", "no certificates in it"),
    ]
    for change, setting, fault in cases:
        found = list(problems(settings(authority, **change)))
        assert [path for path, _ in found] == [f"server.tls.{setting}"], (change, found)
        assert fault in found[0][1], found
    long = authority.folder / "long"
    long.write_text("x" * 2000)
    assert "key_password_file" in str(
        list(problems(settings(authority, **lock, key_password_file=str(long))))
    )


def test_a_key_with_its_password(authority: Authority) -> None:
    pair = authority.make("locked", password=b"secret")
    file = authority.folder / "password"
    file.write_text("secret\n")
    files = {"cert_file": str(pair.cert), "key_file": str(pair.key)}
    assert not list(problems(msgspec.convert({**files, "key_password_file": str(file)}, TlsSettings)))


def test_a_key_without_a_certificate(authority: Authority) -> None:
    found = dict(problems(settings(authority, cert_file="", key_password_file="x")))
    assert list(found) == ["server.tls.key_file", "server.tls.key_password_file"]
    assert "server.tls.cert_file" in found["server.tls.key_file"]


def test_a_certificate_that_clients_refuse_causes_a_warning(authority: Authority) -> None:
    cases = [
        (-3 * DAY, -DAY, "expired at"),
        (DAY, 30 * DAY, "is valid from"),
        (-DAY, 3 * DAY, "expires at"),
    ]
    for begin, end, told in cases:
        pair = authority.make("old", begin=begin, end=end)
        (text,) = warnings(TlsSettings(cert_file=str(pair.cert)))
        assert text.startswith("server.tls.cert_file: ")
        assert told in text
    assert not list(warnings(TlsSettings(cert_file=str(authority.folder / "missing"))))


def test_a_reload_keeps_what_works(authority: Authority) -> None:
    tls = Tls(settings(authority))
    context, valid = tls.context, tls.validity
    with pytest.raises(TlsError, match=r"server\.tls\.cert_file: .*No such file"):
        tls.reload(TlsSettings(cert_file=str(authority.folder / "missing")))
    assert (tls.context, tls.validity) == (context, valid)
    pair = authority.make("new", end=9 * DAY)
    tls.reload(TlsSettings(cert_file=str(pair.cert), key_file=str(pair.key)))
    assert tls.context is not context
    assert tls.validity != valid


@pytest.mark.parametrize("first", ["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256"])
def test_the_client_chooses_the_cipher(authority: Authority, first: str) -> None:
    context = ssl.create_default_context(cafile=str(authority.file))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{first}:ECDHE-ECDSA-AES256-GCM-SHA384")
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    server = Tls(settings(authority)).context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    cipher = client.cipher()
    assert cipher is not None
    assert cipher[0] == first
