"""The test vectors of the link as Python values; conformance/README.md describes their notation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from moorage.wire.moorage import v1
from moorage.wire.moorage.coverage import NodeRow

_ROOT = Path(__file__).resolve().parents[2]
VECTORS: dict[str, list[dict[str, Any]]] = {
    name: rows
    for name, rows in json.loads((_ROOT / "conformance" / "link-vectors.json").read_text("utf-8")).items()
    if isinstance(rows, list)
}

_KINDS = (v1.To, v1.Row, v1.Server, v1.Chunk, v1.Headers, v1.Leaving, v1.Arriving, NodeRow)
_INNER = {cls.__struct_fields__: cls for cls in _KINDS}


def title(row: dict[str, Any]) -> str:
    """Id of the vector in the test's name."""
    name = row.get("why") or " ".join(filter(None, (row.get("name"), row.get("what"))))
    return f"{row['direction']}: {name}" if "direction" in row else name


def octets(written: str | list[Any]) -> bytes:
    """Bytes as the file writes them."""
    if isinstance(written, str):
        return bytes.fromhex(written)
    return b"".join(octets(part) * times for part, times in written)


def value(written: Any) -> Any:
    """A field's value, as the decoders return it."""
    times = written.get("times", 1) if isinstance(written, dict) else 1
    match written:
        case {"text": str(text)}:
            return text.encode() * times
        case {"hex": str(digits)}:
            return bytes.fromhex(digits) * times
        case {"str": str(text)}:
            return text * times
        case {"list": list(items)}:
            return tuple(map(value, items)) * times
        case list(items):
            return tuple(map(value, items))
        case {"type": int(), "frame": dict()}:
            return frame(written)
        case dict(fields):
            return _INNER[tuple(fields)](**{name: value(field) for name, field in fields.items()})
    return written


def frame(row: dict[str, Any]) -> Any:
    """A frame object."""
    cls = getattr(v1, row["name"])
    fields = {name: value(written) for name, written in row["frame"].items()}
    assert tuple(fields) == cls.__struct_fields__, "names and order as in the code"
    return cls(**fields)


def frames(row: dict[str, Any]) -> list[Any]:
    """The frames of a batch."""
    return [found for each in row["frames"] for found in [frame(each)] * each.get("times", 1)]
