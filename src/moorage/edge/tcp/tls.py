"""TLS of the client port. Each new connection uses the newest context, so a reload of the certificate files
changes no connection that is open."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from moorage.edge.settings import TlsSettings
from moorage.edge.tcp.certificate import Validity, validity
from moorage.wire.errors import UsageError

PATH: Final = "server.tls"
SOON_SECONDS: Final = 14 * 86_400
"""A certificate that expires within this time causes a warning."""

_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class TlsError(UsageError):
    """Files that cannot be used. `setting` is the name of the setting at fault, `why` the rest of the
    text."""

    def __init__(self, setting: str, why: str) -> None:
        super().__init__(f"{PATH}.{setting}: {why}")
        self.setting = setting
        self.why = why


class Tls:
    """The certificate in use. Raises `TlsError` if the files cannot be used."""

    def __init__(self, settings: TlsSettings) -> None:
        self.context, self.validity = make(settings)

    @property
    def expires(self) -> str:
        """When the certificate expires, for people."""
        return _date(self.validity.end)

    def reload(self, settings: TlsSettings) -> None:
        """Use these files for new connections. Raises `TlsError`; then the former files stay in use."""
        self.context, self.validity = make(settings)


def make(settings: TlsSettings) -> tuple[ssl.SSLContext, Validity]:
    """A context for a server, and when its certificate is valid. Raises `TlsError`."""
    cert, key = settings.cert_file, settings.key_file or settings.cert_file
    try:
        valid = validity(_read("cert_file", cert).decode("ascii", "replace"))
    except ValueError as error:
        raise TlsError("cert_file", f"{cert}: {error}") from None
    if settings.key_file:
        _read("key_file", key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[settings.min_version]
    # Renegotiation costs a handshake whenever a client of TLS 1.2 likes. No client needs it.
    context.options |= ssl.OP_NO_RENEGOTIATION
    # All ciphers of Python's list are good. The client knows which of them its processor is fast at.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    _load(context, settings, cert, key)
    return context, valid


_OTHER_KEY: Final = ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
"""OpenSSL's reasons for a key that is not the certificate's, of the same type and of another one."""


def _load(context: ssl.SSLContext, settings: TlsSettings, cert: str, key: str) -> None:
    name = "key_file" if settings.key_file else "cert_file"
    asked = False

    def password() -> bytes:
        nonlocal asked
        asked = True
        file = settings.key_password_file
        # Without an answer of ours, OpenSSL would ask on the terminal.
        return _read("key_password_file", file).rstrip(b"\r\n") if file else b""

    try:
        context.load_cert_chain(cert, key, password)
    except ssl.SSLError as error:
        if error.reason in _OTHER_KEY:
            raise TlsError(name, f"{key}: not the key of the certificate in {cert}") from None
        if asked:
            file = settings.key_password_file
            wrong = f"{file}: not the password of" if file else "set it: there is a password on"
            raise TlsError("key_password_file", f"{wrong} the key in {key}") from None
        raise TlsError(name, f"{key}: no private key that can be used ({_why(error)})") from None
    except ValueError as error:  # a password that is too long
        raise TlsError("key_password_file", f"{settings.key_password_file}: {error}") from None


def _why(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")


def _read(setting: str, path: str) -> bytes:
    try:
        if (file := Path(path)).is_fifo() or file.is_char_device() or file.is_block_device():
            # A reload would wait for its writer, and all clients with it. OpenSSL reads each file again, too.
            raise TlsError(setting, f"{path}: a pipe or a device, where a file is needed")
        return file.read_bytes()
    except OSError as error:
        raise TlsError(setting, f"{path}: {error.strerror}") from None


def problems(settings: TlsSettings) -> Iterator[tuple[str, str]]:
    """What keeps the service from using these settings, as (path, text)."""
    if settings.ca_file:
        try:
            ssl.create_default_context(cafile=settings.ca_file)
        except ssl.SSLError:
            yield f"{PATH}.ca_file", f"{settings.ca_file}: no certificates in it (PEM)"
        except OSError as error:
            yield f"{PATH}.ca_file", f"{settings.ca_file}: {error.strerror}"
    if not settings.cert_file:
        for name in ("key_file", "key_password_file"):
            if getattr(settings, name):
                yield f"{PATH}.{name}", f"needs a certificate ({PATH}.cert_file)"
        return
    try:
        make(settings)
    except TlsError as error:
        yield f"{PATH}.{error.setting}", error.why


def warnings(settings: TlsSettings, now: float | None = None) -> Iterator[str]:
    """What an operator should know about usable settings. `now`: seconds since 1970."""
    if not settings.cert_file:
        return
    try:
        begin, end = validity(_read("cert_file", settings.cert_file).decode("ascii", "replace"))
    except (TlsError, ValueError):
        return
    now = time.time() if now is None else now
    what = ""
    if now > end:
        what = f"expired at {_date(end)}, so clients refuse it"
    elif now < begin:
        what = f"is valid from {_date(begin)} on, so clients refuse it"
    elif now > end - SOON_SECONDS:
        what = f"expires at {_date(end)}"
    if what:
        yield f"{PATH}.cert_file: the certificate in {settings.cert_file} {what}"


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
