"""Log lines of Moorage and of its libraries.

Each part gets a logger from `get` and passes fields by name. The command line calls `setup` once, which sets
level and format. All lines go through the standard library's root logger, so lines of libraries are redacted
and formatted like our own. docs/reference/logging.md has the policy."""

from __future__ import annotations

import datetime
import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from typing import Any, Final, Literal, TextIO

from moorage.logs_output import Output
from moorage.logs_quota import Quota
from moorage.wire.reasons import INTERNAL, Reason

ROOT: Final = "moorage"
CLOSE_SECONDS: Final = 1.0
"""Seconds for which the end of the process waits for the queued lines to be written."""
Who = Literal["client", "app", "service", "api"]

# Each pattern keeps the name and hides the value. They are applied to the finished line, so they cover every
# field, message and traceback. A value ends at a space, quote or separator. A backslash and the character
# that it escapes belong to the value (in a JSON line), except an escaped quote.
_VALUE: Final = r"""(?:[^\s"'\\&;,<>)\]}]|\\[^"'\s])+"""
_SECRETS: Final = (
    re.compile(rf"(access_token(?:=|%3D)){_VALUE}", re.IGNORECASE),
    # Up to the semicolon: `config` refuses keys with quotes or backslashes.
    re.compile(r"""(AccessKey(?:=|%3D))(?:[^\s"'\\;])+""", re.IGNORECASE),
    re.compile(
        rf"""(authorization(?:\\?["'])?\s*[:=,]\s*b?(?:\\?["'])?(?:[a-z][\w-]*[ ]+)?){_VALUE}""",
        re.IGNORECASE,
    ),
    re.compile(r"(bearer\s+)[A-Za-z0-9._~+/=-]+", re.IGNORECASE),
    # A JSON Web Token anywhere: its first two parts begin with `{"`, which is `eyJ` in base64.
    re.compile(r"()eyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"),
)
_HIDDEN: Final = r"\1[redacted]"
# A line without any of these words has no secret. They are plain searches, because a pattern with
# alternatives that ignores case tries each alternative at every character.
_SUSPECT: Final = ("access_token", "accesskey", "authorization", "bearer", "eyj")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_RED: Final = "\x1b[31m"
_COLOURS: Final = {"debug": "\x1b[2m", "warning": "\x1b[33m", "error": _RED, "critical": _RED}
_FIELDS: Final = "moorage_fields"
"""The attribute of our records that has the fields."""
_BARE: Final = re.compile(r"[!#-<>-~]+")


class Logger:
    """A logger with bound fields. A call below the level costs one dict lookup and creates nothing."""

    __slots__ = ("_fields", "_logger")

    def __init__(self, logger: logging.Logger, fields: Mapping[str, Any]) -> None:
        self._logger = logger
        self._fields = fields

    def bind(self, **fields: Any) -> Logger:
        """A logger that adds `fields` to every line."""
        return Logger(self._logger, {**self._fields, **fields})

    def enabled(self, level: int) -> bool:
        """True if lines of this level (of `logging`) are written. For callers that compute what they log."""
        return self._logger.isEnabledFor(level)

    def debug(self, event: str, **fields: Any) -> None:
        """For developers of Moorage. There may be many lines for each client."""
        if self._logger.isEnabledFor(logging.DEBUG):
            self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """An event. There is a bounded number of lines for each connection."""
        if self._logger.isEnabledFor(logging.INFO):
            self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """A problem that an operator should look at; the service works."""
        if self._logger.isEnabledFor(logging.WARNING):
            self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """A defect or a missing resource. `exc_info=True` adds the traceback."""
        if self._logger.isEnabledFor(logging.ERROR):
            self._write(logging.ERROR, event, fields)

    def _write(self, level: int, event: str, fields: dict[str, Any]) -> None:
        trace = fields.pop("exc_info", None)
        self._logger.log(level, event, exc_info=trace, extra={_FIELDS: {**self._fields, **fields}})


def get(component: str) -> Logger:
    """The logger of a part (`hub`, `edge`, ...). May be called before `setup`, at import."""
    return Logger(logging.getLogger(f"{ROOT}.{component}"), {})


_own: Final = get("logs")
_disconnects: Final = get("hub")


def disconnect_line(
    *,
    connection: str,
    hub: str,
    user: str | None,
    who: Who,
    reason: Reason,
    age_s: float,
    queued_bytes: int,
    transport: str,
    sockets: int,
    detail: str = "",
) -> None:
    """Write the line that every connection leaves at its end: who ended it and why, its age in seconds, the
    bytes that were queued and not written, and the number of its namespaces."""
    write = _disconnects.error if reason is INTERNAL else _disconnects.info
    write(
        "disconnect",
        connection=connection,
        hub=hub,
        user=user,
        who=who,
        reason=reason.name,
        number=reason.number,
        age_s=round(age_s, 3),
        queued_bytes=queued_bytes,
        transport=transport,
        sockets=sockets,
        **({"detail": detail} if detail else {}),
    )


def setup(*, level: str, format: str, stream: TextIO | None = None, node: str = "") -> None:
    """Send all lines to standard output at `level` (debug, info, warning, error), as `json` or `human` text.
    A thread writes them, so no caller waits for the reader of the output. If `stream` is given, lines are
    written to it directly. A worker gives its name as `node`: it is a field of every line, and the output is
    shared with other processes. A second call replaces the first."""
    global _output  # noqa: PLW0603 - a process has one standard output
    handler: logging.Handler
    if stream is None:
        sys.stdout.flush()
        _output = Output(sys.stdout.fileno(), shared=bool(node))
        handler = _Queueing(_output)
    else:
        handler = logging.StreamHandler(stream)
    colour = (stream or sys.stdout).isatty()
    handler.setFormatter(_Redacting(partial(_human, colour=colour) if format == "human" else _json, node))
    handler.addFilter(_Libraries())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    ours = getattr(logging, level.upper())
    logging.getLogger(ROOT).setLevel(ours)
    # Lines of libraries are shown one level lower: their "info" counts as our "debug".
    root.setLevel(max(ours, logging.INFO) if ours <= logging.DEBUG else max(ours, logging.WARNING))
    logging.captureWarnings(True)
    # Skip collecting thread and process ids: no format uses them (recommended by the logging docs).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None


_output: Output | None = None


def say(text: str) -> None:
    """Write plain text to standard output, in order with the log lines, without waiting."""
    if _output is not None:
        _output.put(text)


def dropped() -> int:
    """Number of lines that were dropped because nothing read the output."""
    return _output.dropped if _output is not None else 0


def close(timeout: float = CLOSE_SECONDS) -> None:
    """Wait up to `timeout` seconds until all lines are written. Called at the end of the process."""
    if _output is not None:
        _output.close(timeout)


class _Queueing(logging.Handler):
    """Passes finished lines to an `Output`. After dropped lines, writes a line with their number."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output
        self._told = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Called under the handler's lock. Never waits for the reader."""
        if self._output.full:
            # Checked before formatting, so that a dropped line costs little.
            self._output.drop()
            return
        missed = self._output.dropped - self._told
        try:
            if missed:
                self._told += missed
                _own.warning("log lines dropped", count=missed)
            self._output.put(self.format(record))
        except Exception:
            self.handleError(record)


class _Libraries(logging.Filter):
    """Bounds the number of lines of libraries, because peers can cause them."""

    def __init__(self) -> None:
        super().__init__()
        self._quota = Quota(rate=1.0, burst=20.0)

    def filter(self, record: logging.LogRecord) -> bool:
        """True for a line that may be written."""
        if record.name.startswith(f"{ROOT}."):
            return True
        now = time.monotonic()
        allowed = self._quota.allows(now)
        missed = self._quota.report(now) if allowed else 0
        if missed:
            _own.info("lines suppressed", of="libraries", count=missed)
        return allowed


def redact(line: str) -> str:
    """`line` without access tokens, access keys and credentials."""
    folded = line.lower()
    if not any(word in folded for word in _SUSPECT):
        return line
    for secret in _SECRETS:
        line = secret.sub(_HIDDEN, line)
    return line


Line = dict[str, Any]
"""The fields of one line, in their order. It begins with `ts`, `level`, `component` and `event`."""


class _Redacting(logging.Formatter):
    """Formats a record, ours or a library's, and hides the secrets in the result."""

    def __init__(self, render: Callable[[Line], str], node: str) -> None:
        super().__init__()
        self._render = render
        self._common = {"node": node} if node else {}

    def format(self, record: logging.LogRecord) -> str:
        own = record.name.startswith(f"{ROOT}.")
        line = {
            "ts": _utc(record.created),
            "level": record.levelname.lower(),
            "component": record.name[len(ROOT) + 1 :] if own else record.name,
            "event": record.getMessage(),
            **self._common,
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = self.formatException(record.exc_info)
        return redact(self._render(line))


def _json(line: Line) -> str:
    # ASCII only, so a client's text can neither break the line nor confuse a terminal.
    return json.dumps(line, default=repr)


def _human(line: Line, *, colour: bool) -> str:
    clock = line.pop("ts")[11:23]
    level, component = line.pop("level"), line.pop("component")
    text, trace = _printable(line.pop("event")), line.pop("exception", "")
    fields = " ".join(f"{name}={_value(value)}" for name, value in line.items() if value is not None)
    shown = f"{clock} {level:<7} {component:<8} {text}" + (f"  {fields}" if fields else "")
    if trace:
        shown += "\n" + "\n".join(_printable(row) for row in trace.splitlines())
    start = _COLOURS.get(level, "") if colour else ""
    return f"{start}{shown}\x1b[0m" if start else shown


@lru_cache(maxsize=1)
def _second(whole: int) -> str:
    return datetime.datetime.fromtimestamp(whole, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _utc(created: float) -> str:
    whole = int(created)
    return f"{_second(whole)}.{int((created - whole) * 1000):03d}Z"


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value if _BARE.fullmatch(value) else json.dumps(value)
    if isinstance(value, Iterable):
        return json.dumps(value, default=repr)
    return _printable(str(value))


def _printable(text: str) -> str:
    # Text from a client must not move the terminal's cursor or start new lines.
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text).replace("\n", "\\n")
