"""How this node logs in to a NATS server: TLS, user and password, token, nkey, or a credentials file.

Files are read at each login, so that they can be replaced while the service runs. No part of a secret is ever
in an error.
"""

from __future__ import annotations

import base64
import binascii
import ssl
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, unquote

from moorage.cluster.settings import ClusterSettings

_SEED: Final = 18 << 3
"""What the first byte of a seed begins with (`S` in base32)."""
_USER: Final = 20 << 3
"""The kind of key that a user has (`U` in base32)."""
_JWT: Final = ("-----BEGIN NATS USER JWT-----", "------END NATS USER JWT------")
_NKEY: Final = ("-----BEGIN USER NKEY SEED-----", "------END USER NKEY SEED------")


class NatsError(Exception):
    """The connection cannot be made: the server refused it, is no NATS server, or a setting is wrong."""


def secrets(settings: ClusterSettings, url: SplitResult, nonce: str) -> dict[str, str]:
    """The fields of the login that identify this node, with a signature of the server's `nonce`. Raises
    `NatsError`."""
    if settings.nats_credentials:
        text = _read("cluster.nats_credentials", settings.nats_credentials)
        jwt, seed = _between(text, *_JWT), _between(text, *_NKEY)
        if not jwt or not seed:
            raise NatsError("cluster.nats_credentials: not a credentials file")
        return {"jwt": jwt, "sig": _sign("cluster.nats_credentials", seed, nonce)[1]}
    if settings.nats_nkey:
        lines = _read("cluster.nats_nkey", settings.nats_nkey).split()
        seed = next((line for line in lines if line.startswith("SU")), "")
        public, signature = _sign("cluster.nats_nkey", seed, nonce)
        return {"nkey": public, "sig": signature}
    if url.password is not None:
        return {"user": unquote(url.username or ""), "pass": unquote(url.password)}
    return {"auth_token": unquote(url.username)} if url.username else {}


def tls(settings: ClusterSettings) -> ssl.SSLContext:
    """Verifies the server, and shows it this node's certificate if there is one. Raises `NatsError`."""
    try:
        context = ssl.create_default_context(cafile=settings.nats_ca or None)
    except (OSError, ssl.SSLError) as error:
        raise NatsError(f"cluster.nats_ca: {_text(error)}") from None
    if settings.nats_cert:
        try:
            # Without a password, the library would ask for one on the terminal.
            context.load_cert_chain(settings.nats_cert, settings.nats_key or None, password=lambda: "")
        except (OSError, ssl.SSLError, ValueError) as error:
            raise NatsError(f"cluster.nats_cert, cluster.nats_key: {_text(error)}") from None
    return context


def _text(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def _read(setting: str, path: str) -> str:
    try:
        file = Path(path)
        if file.is_fifo() or file.is_char_device() or file.is_block_device():
            # The node would wait for its writer, or read without an end.
            raise NatsError(f"{setting}: {path} is a pipe or a device; give the path of a file")
        return file.read_text("ascii")
    except OSError as error:
        raise NatsError(f"{setting}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise NatsError(f"{setting}: not a text file") from None


def _between(text: str, begin: str, end: str) -> str:
    """The text between two lines; "" if one of them is missing."""
    _, found, rest = text.partition(begin)
    inside, ended, _ = rest.partition(end)
    return inside.strip() if found and ended else ""


def _sign(setting: str, seed: str, nonce: str) -> tuple[str, str]:
    """The public key, and the signature of `nonce`."""
    try:
        # Only those who use it need the package, which is in the extra `cluster`.
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    except ImportError:
        raise NatsError(f'{setting}: needs a package: pip install "cryptography>=46"') from None
    key: Any = Ed25519PrivateKey.from_private_bytes(_private(setting, seed))
    public = bytes((_USER,)) + key.public_key().public_bytes_raw()
    signature = base64.urlsafe_b64encode(key.sign(nonce.encode())).rstrip(b"=").decode()
    return _base32(public), signature


def _private(setting: str, seed: str) -> bytes:
    """The 32 bytes in a seed: two bytes that tell the kind of the key, the key, and a checksum."""
    try:
        data = base64.b32decode(seed + "=" * (-len(seed) % 8))
    except binascii.Error:
        data = b""
    kind = (data[0] & 7) << 5 | data[1] >> 3 if len(data) == 36 else 0
    if kind != _USER or data[0] & 0xF8 != _SEED or _checksum(data[:-2]) != data[-2:]:
        raise NatsError(f"{setting}: not the seed of a user (which begins with SU)")
    return data[2:-2]


def _base32(data: bytes) -> str:
    return base64.b32encode(data + _checksum(data)).rstrip(b"=").decode()


def _checksum(data: bytes) -> bytes:
    return binascii.crc_hqx(data, 0).to_bytes(2, "little")
