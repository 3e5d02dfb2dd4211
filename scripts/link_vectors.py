"""Fill in the bytes of conformance/link-vectors.json from the readable frames beside them.

    python scripts/link_vectors.py           write the file anew, in its one layout
    python scripts/link_vectors.py --check   exit code 1 if that would change it

Packs by itself, by the table of the MessagePack specification: an encoder of ours that went wrong
would otherwise write its own verdict. The forms of the file: conformance/README.md.
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any, Final

VECTORS: Final = Path(__file__).resolve().parent.parent / "conformance" / "link-vectors.json"

Parts = list[tuple[bytes, int]]
"""Pieces, and the number of repetitions of each."""


def pack(value: Any) -> Parts:
    """The shortest MessagePack form of a value in the file's notation."""
    match value:
        case None:
            return [(b"\xc0", 1)]
        case bool():
            return [(b"\xc3" if value else b"\xc2", 1)]
        case int():
            return [(_integer(value), 1)]
        case float():
            return [(b"\xcb" + struct.pack(">d", value), 1)]
        case str():
            return _text(value, 1)
        case list():
            return [(_head(len(value), 0x90, 16, {2: 0xDC, 4: 0xDD}), 1), *_each(value)]
        case dict():
            return _object(value)
    raise TypeError(type(value).__name__)


def _object(value: dict[str, Any]) -> Parts:
    times = value.get("times", 1)
    match value:
        case {"str": str(text)}:
            return _text(text, times)
        case {"list": list(items)}:
            return [(_head(len(items) * times, 0x90, 16, {2: 0xDC, 4: 0xDD}), 1), (_joined(items), times)]
        case {"text": str(text)}:
            return _binary(text.encode(), times)
        case {"hex": str(digits)}:
            return _binary(bytes.fromhex(digits), times)
        case {"type": int(), "frame": dict()}:
            return pack_frame(value)
    return pack(list(value.values()))


def _integer(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    code, size = next(
        (code, size) for code, size in ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8)) if value < 1 << 8 * size
    )
    return bytes((code,)) + value.to_bytes(size, "big")


def _head(count: int, short: int, below: int, codes: dict[int, int]) -> bytes:
    if count < below:
        return bytes((short | count,))
    size = next(size for size in codes if count < 1 << 8 * size)
    return bytes((codes[size],)) + count.to_bytes(size, "big")


def _text(text: str, times: int) -> Parts:
    data = text.encode()
    return [(_head(len(data) * times, 0xA0, 32, {1: 0xD9, 2: 0xDA, 4: 0xDB}), 1), (data, times)]


def _binary(data: bytes, times: int) -> Parts:
    return [(_head(len(data) * times, 0, 0, {1: 0xC4, 2: 0xC5, 4: 0xC6}), 1), (data, times)]


def _each(values: list[Any]) -> Parts:
    return [part for value in values for part in pack(value)]


def _joined(values: list[Any]) -> bytes:
    return b"".join(data * times for data, times in _each(values))


def pack_frame(entry: dict[str, Any]) -> Parts:
    """A frame: its type, then its fields in the order in which the file names them."""
    fields = list(entry["frame"].values())
    return [(bytes((0x90 | (len(fields) + 1),)), 1), *_each([entry["type"], *fields])]


def pack_batch(entry: dict[str, Any]) -> Parts:
    """A whole batch."""
    count = sum(frame.get("times", 1) for frame in entry["frames"])
    head = [(b"\x93", 1), *pack(entry["number"]), *pack(entry["ack"])]
    parts: Parts = [*head, (_head(count, 0x90, 16, {2: 0xDC, 4: 0xDD}), 1)]
    for frame in entry["frames"]:
        packed = pack_frame(frame)
        if "times" in frame:
            packed = [(b"".join(data * times for data, times in packed), frame["times"])]
        parts += packed
    return parts


def notation(parts: Parts) -> str | list[list[str | int]]:
    """Hex digits; repetitions are pairs of digits and a number."""
    merged: Parts = []
    for data, times in parts:
        if times == 1 and merged and merged[-1][1] == 1:
            merged[-1] = (merged[-1][0] + data, 1)
        elif data:
            merged.append((data, times))
    if all(times == 1 for _, times in merged):
        return b"".join(data for data, _ in merged).hex()
    return [[data.hex(), times] for data, times in merged]


def filled(vectors: dict[str, Any]) -> dict[str, Any]:
    """Update the bytes of `frames` and `batches`; everything else is written by hand."""
    frames = [{**entry, "hex": notation(pack_frame(entry))} for entry in vectors["frames"]]
    batches = [{**entry, "hex": notation(pack_batch(entry))} for entry in vectors["batches"]]
    return {**vectors, "frames": frames, "batches": batches}


def layout(vectors: dict[str, Any]) -> str:
    """One line for each vector and each step."""
    out = []
    for name, value in vectors.items():
        if name == "stream":
            rows = [_scenario(row) for row in value]
        elif isinstance(value, list):
            rows = [_line(row) for row in value]
        else:
            out.append(f'  "{name}": {_line(value)}')
            continue
        out.append(f'  "{name}": [\n    ' + ",\n    ".join(rows) + "\n  ]")
    return "{\n" + ",\n".join(out) + "\n}\n"


def _scenario(row: dict[str, Any]) -> str:
    steps = ",\n      ".join(_line(step) for step in row["steps"])
    head = _line({key: value for key, value in row.items() if key != "steps"})
    return f'{head[:-1]}, "steps": [\n      {steps}\n    ]}}'


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def main(args: list[str]) -> int:
    """The exit code."""
    old = VECTORS.read_text(encoding="utf-8")
    new = layout(filled(json.loads(old)))
    if "--check" in args:
        return int(new != old)
    VECTORS.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
