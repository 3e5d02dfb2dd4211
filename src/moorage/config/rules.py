"""The accepted forms and ranges of a setting's value, and the text that describes them."""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Callable
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

from moorage.edge.http.origins import canonical_entry
from moorage.edge.limits.buckets import read_rate
from moorage.wire.azure.dataplane import HUB_NAME

Kind = Literal[
    "flag", "count", "size", "seconds", "text", "secret", "path", "choice", "endpoint", "origins", "networks",
    "hub", "nats", "name", "prefix", "workers", "rate",
]  # fmt: skip

# The number of digits is bounded, so that no text becomes a number that is slow to handle or overflows.
_NUMBER: Final = re.compile(r"\d{1,15}(?:\.\d{1,9})?")
_DURATION_PART: Final = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(ms|s|m|h|d)")
_DURATION: Final = re.compile(rf"(?:{_DURATION_PART.pattern})+")
_SIZE: Final = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*(B|KB|MB|GB|KiB|MiB|GiB)", re.IGNORECASE)
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES: Final = {
    "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1024, "mib": 1024**2, "gib": 1024**3,
}  # fmt: skip
_PREFIX: Final = re.compile(r"[A-Za-z0-9]{2}")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_WORDS: Final = {"true": True, "yes": True, "on": True, "1": True}
_WORDS_OFF: Final = {"false": False, "no": False, "off": False, "0": False}


class Rule(NamedTuple):
    """`low` and `high` are inclusive, in the unit of `kind`: bytes, seconds or plain numbers."""

    kind: Kind
    low: float = 0
    high: float | None = None
    choices: tuple[str, ...] = ()


def parse(rule: Rule, value: object) -> object:
    """Convert what was written to the setting's value. Raises `ValueError` if that is not possible."""
    parsed = _PARSERS[rule.kind](value)
    if isinstance(parsed, int | float) and not isinstance(parsed, bool):
        if parsed < rule.low or (rule.high is not None and parsed > rule.high):
            raise ValueError("out of range")
    elif rule.kind == "choice" and parsed not in rule.choices:
        raise ValueError("not one of the choices")
    return parsed


def expected(rule: Rule) -> str:
    """A description of what `parse` accepts, for error messages and the manual."""
    if rule.kind == "choice":
        return "one of " + ", ".join(rule.choices)
    text = _EXPECTED[rule.kind]
    if rule.kind in ("count", "size", "seconds"):
        end = "or more" if rule.high is None else f"to {_bound(rule, rule.high)}"
        text += f", {_bound(rule, rule.low)} {end}"
    return text


def show(rule: Rule, value: object) -> str:
    """The shortest form of `value` that `parse` accepts. Texts are not quoted."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if rule.kind == "seconds" and isinstance(value, int | float):
        return show_seconds(value)
    if rule.kind == "size" and isinstance(value, int):
        return show_size(value)
    if rule.kind == "workers" and value == 0:
        return "auto"
    return str(value)


def show_seconds(value: float) -> str:
    """`0.5` -> `500ms`, `3600` -> `1h`."""
    if 0 < value < 1 and math.isclose(value * 1000, round(value * 1000)):
        return f"{round(value * 1000)}ms"
    for unit in ("d", "h", "m"):
        if value and value % _SECONDS[unit] == 0:
            return f"{int(value // _SECONDS[unit])}{unit}"
    return f"{value:.9f}".rstrip("0").rstrip(".") + "s"


def show_size(value: int) -> str:
    """`4194304` -> `4MiB`, `1000000` -> `1000000`."""
    for unit in ("GiB", "MiB", "KiB"):
        scale = _BYTES[unit.lower()]
        if value and value % scale == 0:
            return f"{value // scale}{unit}"
    return str(value)


def seconds(value: object) -> float:
    """`30s`, `1h30m`, `500ms`, or a plain number of seconds."""
    if isinstance(value, str):
        text = value.strip()
        if _DURATION.fullmatch(text):
            return math.fsum(float(n) * _SECONDS[unit] for n, unit in _DURATION_PART.findall(text))
    return float(_plain(value))


def size(value: object) -> int:
    """`1MiB`, `64KiB`, `1.5MB`, or a plain number of bytes."""
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        number = float(match[1]) * _BYTES[match[2].lower()]
        if not number.is_integer():
            raise ValueError("not a whole number of bytes")
        return int(number)
    return count(value)


def count(value: object) -> int:
    """A whole number."""
    number = _plain(value)
    if isinstance(number, float):
        raise ValueError("not a whole number")
    return number


def _plain(value: object) -> int | float:
    # `True` is an int in Python, and `port: yes` is a boolean in YAML.
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        text = value.strip()
        return float(text) if "." in text else int(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("not a number")
    if not -1e15 < value < 1e15:  # refuses nan and infinity too
        raise ValueError("not a sensible number")
    return value


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in _WORDS:
        return True
    if word in _WORDS_OFF:
        return False
    raise ValueError("not true or false")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not text")
    return value.strip()


def _hub(value: object) -> str:
    name = _text(value)
    if not HUB_NAME.fullmatch(name):
        raise ValueError("not a hub name")
    return name


def _endpoint(value: object) -> str:
    text = _text(value)
    if text and not _is_base_url(text):
        raise ValueError("not a base URL")
    return text.rstrip("/")


def _is_base_url(text: str) -> bool:
    url = urlsplit(text)  # raises ValueError for a broken IPv6 host
    _ = url.port  # raises ValueError too, for a port that is not a number
    plain = not (url.query or url.fragment or "@" in url.netloc or "?" in text or "#" in text)
    return url.scheme in ("http", "https") and bool(url.hostname) and url.path in ("", "/") and plain


class ItemError(ValueError):
    """One `item` of a list is not valid. `hint` says what may have been meant."""

    def __init__(self, item: str, hint: str = "") -> None:
        super().__init__(item)
        self.item = item
        self.hint = hint


def _origins(value: object) -> tuple[str, ...]:
    return tuple(map(_origin, _items(value)))


def _origin(item: str) -> str:
    entry = canonical_entry(item.rstrip("/"))
    if entry is None:
        raise ItemError(item)
    return entry


def _networks(value: object) -> tuple[str, ...]:
    return tuple(map(_network, _items(value)))


def _network(item: str) -> str:
    try:
        network = ipaddress.ip_network(item, strict=False)
    except ValueError:
        raise ItemError(item) from None
    # `10.0.0.1/8` may be meant as one address or as the network.
    if "/" in item and ipaddress.ip_address(item.partition("/")[0]) != network.network_address:
        raise ItemError(item, f"; the network is {network}")
    return str(network)


def _nats(value: object) -> tuple[str, ...]:
    if isinstance(value, str) and not value.lstrip().startswith("["):
        value = value.replace(",", " ")
    found = tuple(_items(value))
    for item in found:
        url = urlsplit(item)  # raises ValueError, and so does a port that is not a number
        plain = not (url.path.strip("/") or url.query or url.fragment)
        if url.scheme not in ("nats", "tls") or not url.hostname or url.port == 0 or not plain:
            raise ValueError("not a NATS server")
    return found


def _workers(value: object) -> int:
    if value == "auto":
        return 0
    number = count(value)
    if number == 0:
        raise ValueError("no worker")
    return number


def _name(value: object) -> str:
    name = _text(value)
    if name and not _NAME.fullmatch(name):
        raise ValueError("not a name")
    return name


def _prefix(value: object) -> str:
    prefix = _text(value)
    if prefix and not _PREFIX.fullmatch(prefix):
        raise ValueError("not a prefix")
    return prefix


def _items(value: object) -> list[str]:
    if isinstance(value, str):
        value = json.loads(value) if value.lstrip().startswith("[") else value.split()
    if not isinstance(value, list | tuple):
        raise ValueError("not a list")
    return [_text(item) for item in value]


def _rate(value: object) -> str:
    text = _text(value)
    read_rate(text)
    return text


_PARSERS: Final[dict[Kind, Callable[[object], object]]] = {
    "flag": _flag,
    "count": count,
    "size": size,
    "seconds": seconds,
    "text": _text,
    "secret": _text,
    "path": _text,
    "choice": _text,
    "endpoint": _endpoint,
    "origins": _origins,
    "networks": _networks,
    "hub": _hub,
    "nats": _nats,
    "name": _name,
    "prefix": _prefix,
    "workers": _workers,
    "rate": _rate,
}
_EXPECTED: Final[dict[Kind, str]] = {
    "flag": "true or false",
    "count": "a whole number",
    "size": "a size (bytes, or such as 64KiB or 1MiB)",
    "seconds": "a duration (seconds, or such as 500ms, 30s or 1h)",
    "text": "text",
    "secret": "text (put it in quotes)",
    "path": "the path of a file",
    "endpoint": "an http:// or https:// URL without a path",
    "origins": "a list of origins such as https://example.org, patterns (https://*.example.org), null, or *",
    "networks": "a list of addresses and networks such as 127.0.0.1 or 10.0.0.0/8",
    "nats": "a list of NATS servers such as nats://127.0.0.1:4222 or nats://user:password@example.org",
    "workers": "auto, or a number of processes, 1 to 256",
    "rate": "a rate such as 10/s, 300/m or 10/s burst 50",
    "prefix": "two of A-Z a-z 0-9",
    "name": "a name (up to 64 of A-Z a-z 0-9 _ -)",
    "hub": "a hub name (a letter, then up to 127 of A-Z a-z 0-9 _ ` , . [ ])",
}


def _bound(rule: Rule, number: float) -> str:
    return show(rule, number if rule.kind == "seconds" else int(number))
