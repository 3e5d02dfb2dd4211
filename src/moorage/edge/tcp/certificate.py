"""The names and the time of validity in a certificate file. Python's `ssl` gives them only for a peer's
certificate, and the package `cryptography` (10 MB) is not needed for the two dates."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime
from typing import Final, NamedTuple

_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE: Final = 0x30
_EXPLICIT_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18


class Validity(NamedTuple):
    """When a certificate is valid, in seconds since 1970."""

    begin: float
    end: float


def validity(text: str) -> Validity:
    """The time of validity of the first certificate in a PEM file. Raises `ValueError` if there is none."""
    found = _PEM.search(text)
    if found is None:
        raise ValueError("no certificate in it (PEM, `-----BEGIN CERTIFICATE-----`)")
    certificate = _Der(ssl.PEM_cert_to_DER_cert(found[0]))
    fields = _Der(_Der(certificate.take(_SEQUENCE)).take(_SEQUENCE))
    if fields.next_tag == _EXPLICIT_VERSION:
        fields.take(_EXPLICIT_VERSION)
    for _ in ("serial number", "signature", "issuer"):
        fields.take()
    times = _Der(fields.take(_SEQUENCE))
    return Validity(times.time(), times.time())


class _Der:
    """Reads values in the encoding of certificates (X.690), one after the other. Raises `ValueError`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def next_tag(self) -> int:
        """The type of the next value."""
        return self._data[self._at] if self._at < len(self._data) else -1

    def take(self, tag: int | None = None) -> bytes:
        """The content of the next value, which must be of the type `tag` if one is given."""
        data, at = self._data, self._at
        if len(data) < at + 2 or (tag is not None and data[at] != tag):
            raise ValueError("not a certificate")
        size, at = data[at + 1], at + 2
        if size & 0x80:
            length = size & 0x7F
            size, at = int.from_bytes(data[at : at + length], "big"), at + length
        if len(data) < at + size:
            raise ValueError("not a certificate")
        self._at = at + size
        return data[at : at + size]

    def time(self) -> float:
        """A time (RFC 5280, 4.1.2.5: always in UTC, and always with seconds)."""
        tag = self.next_tag
        form = {_UTC_TIME: "%y%m%d%H%M%SZ", _GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}.get(tag)
        if form is None:
            raise ValueError("not a certificate")
        text = self.take().decode("ascii", "replace")
        read = datetime.strptime(text, form).replace(tzinfo=UTC)
        if tag == _UTC_TIME and not 1950 <= read.year < 2050:
            read = read.replace(year=read.year - 100)
        return read.timestamp()
