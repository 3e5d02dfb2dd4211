"""When a certificate is valid, read from the file."""

from __future__ import annotations

import base64
import contextlib
import datetime
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.edge.tcp.certificate import validity
from tests.support.certificates import DAY, Authority

YEAR_2060 = datetime.datetime(2060, 1, 1, tzinfo=datetime.UTC)


def pem(data: bytes) -> str:
    """These bytes in the place of a certificate."""
    text = base64.encodebytes(data).decode()
    return f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("with_rsa", [True, False])
def test_both_times(tmp_path: Path, with_rsa: bool) -> None:
    now = time.time()
    made = Authority(tmp_path).make(begin=-2 * DAY, end=3 * DAY, with_rsa=with_rsa)
    begin, end = validity(made.cert.read_text())
    assert begin == pytest.approx(now - 2 * 86_400, abs=5)
    assert end == pytest.approx(now + 3 * 86_400, abs=5)


def test_a_time_beyond_2050_has_another_form(tmp_path: Path) -> None:
    away = YEAR_2060 - datetime.datetime.now(datetime.UTC)
    made = Authority(tmp_path).make(end=away)
    assert validity(made.cert.read_text()).end == pytest.approx(YEAR_2060.timestamp(), abs=5)


def test_the_first_certificate_of_a_chain_counts(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    first, second = authority.make("a", end=5 * DAY), authority.make("b", end=9 * DAY)
    chain = f"# some text\n{first.key.read_text()}{first.cert.read_text()}{second.cert.read_text()}"
    assert validity(chain) == validity(first.cert.read_text())


def test_what_is_no_certificate(tmp_path: Path) -> None:
    key = Authority(tmp_path).make().key.read_text()
    broken = pem(bytes.fromhex("3010300e020101300030003006020101020102"))
    for text in ("", "x", key, broken, pem(b""), pem(b"\x30"), pem(b"\x30\x82"), pem(b"\x02\x01\x01")):
        with pytest.raises(ValueError, match="certificate"):
            validity(text)


@pytest.fixture(scope="module")
def der(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A certificate as bytes."""
    text = Authority(tmp_path_factory.mktemp("der")).make().cert.read_text()
    return base64.b64decode("".join(text.splitlines()[1:-1]))


@given(data=st.data())
def test_no_byte_of_a_file_raises_anything_else(der: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(der) - 1))
    changed = der[:at] + data.draw(st.binary(max_size=4)) + der[at + data.draw(st.integers(0, 4)) :]
    with contextlib.suppress(ValueError):
        validity(pem(changed))
