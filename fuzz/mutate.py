"""Nearly correct input: damaged examples of valid input."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

INTERESTING = (0x00, 0x0A, 0x0D, 0x1E, 0x20, 0x22, 0x25, 0x27, 0x2C, 0x2F, 0x30, 0x5B, 0x7B, 0x7F, 0x80, 0xFF)
NUMBERS = (b"0", b"-1", b"1e999", b"4294967296", b"9007199254740993", b"9" * 40)


def damaged(rng: Random, examples: Sequence[bytes], words: Sequence[bytes] = ()) -> bytes:
    """One of `examples` after a few changes; `words` are parts that the decoder recognises."""
    if rng.random() < 0.05:
        return rng.randbytes(rng.randrange(200))
    data = bytearray(rng.choice(examples))
    for _ in range(rng.choice((0, 1, 1, 2, 3, 5, 8))):
        _change(rng, data, examples, words)
    return bytes(data[:100_000])


def _change(rng: Random, data: bytearray, examples: Sequence[bytes], words: Sequence[bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    end = min(len(data), at + rng.choice((1, 1, 2, 4, 16, 64)))
    match rng.randrange(8):
        case 0:
            data[at:end] = bytes([rng.choice(INTERESTING)])
        case 1:
            data[at:at] = bytes([rng.randrange(256)])
        case 2:
            del data[at:end]
        case 3:
            data[at:at] = data[at:end] * rng.choice((1, 2, 50))
        case 4:
            other = rng.choice(examples)
            data[at:] = other[rng.randrange(len(other) + 1) :]
        case 5:
            data[at:end] = rng.choice(NUMBERS)
        case 6 if words:
            data[at:at] = rng.choice(words)
        case _:
            if at < len(data):
                data[at] ^= 1 << rng.randrange(8)


def damaged_text(rng: Random, examples: Sequence[str], words: Sequence[str] = ()) -> str:
    """The same for text, sometimes with characters that cannot be encoded."""
    data = damaged(rng, [text.encode() for text in examples], [word.encode() for word in words])
    return data.decode(errors=rng.choice(("replace", "surrogateescape", "ignore")))
