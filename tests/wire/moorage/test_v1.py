"""The frames of the moorage dialect: the vectors, round trips of every frame, and invalid bytes."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import inspect

from fuzz.mutate import damaged
from moorage.wire.errors import PeerError
from moorage.wire.moorage import v1
from moorage.wire.reasons import LINK_BAD_FRAME
from scripts import link_vectors as script
from tests.support.examples import times
from tests.support.link_vectors import VECTORS, frame, frames, octets, title

Decode = Callable[[bytes], "v1.Batch[Any]"]
DECODE: dict[str, Decode] = {"app": v1.decode_from_app, "service": v1.decode_from_service}
KINDS: dict[str, tuple[type[msgspec.Struct], ...]] = {
    "app": get_args(v1.FromApp),
    "service": get_args(v1.FromService),
}
EACH_KIND = [(direction, kind) for direction, kinds in KINDS.items() for kind in kinds]
KIND_IDS = [f"{direction}-{kind.__name__}" for direction, kind in EACH_KIND]
PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "link-protocol.md"
ONE_FRAME = bytes.fromhex("93010091")
DIRECTIONS = pytest.mark.parametrize("direction", ["app", "service"])


def vectors(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", VECTORS[name], ids=title)


def refused(direction: str, data: bytes) -> bool:
    """True if `data` is refused as a batch. Any exception other than `PeerError` is raised."""
    try:
        DECODE[direction](data)
    except PeerError as error:
        assert error.reason is LINK_BAD_FRAME
        assert 0 < len(error.detail) <= 200
        return True
    return False


def tag_of(kind: type[msgspec.Struct]) -> int:
    tag = kind.__struct_config__.tag
    assert isinstance(tag, int)
    return tag


# -- the vectors ---------------------------------------------------------------------------------------------


def test_the_file_is_up_to_date() -> None:
    assert script.main(["--check"]) == 0, "run python scripts/link_vectors.py"


@DIRECTIONS
def test_every_frame_has_a_vector(direction: str) -> None:
    found = {row["name"] for row in VECTORS["frames"] if row["direction"] == direction}
    assert found == {kind.__name__ for kind in KINDS[direction]}


@vectors("frames")
def test_a_frame(row: dict[str, Any]) -> None:
    expected = octets(row["hex"])
    assert v1.encode_frame(frame(row)) == expected
    assert DECODE[row["direction"]](ONE_FRAME + expected) == (1, 0, [frame(row)])


@vectors("batches")
def test_a_batch(row: dict[str, Any]) -> None:
    expected = octets(row["hex"])
    encoded = list(map(v1.encode_frame, frames(row)))
    assert v1.encode_batch(row["number"], row["ack"], encoded) == expected
    assert DECODE[row["direction"]](expected) == (row["number"], row["ack"], frames(row))


@vectors("tolerated")
def test_tolerated(row: dict[str, Any]) -> None:
    assert DECODE[row["direction"]](octets(row["hex"])) == (row["number"], row["ack"], frames(row))


@vectors("refused")
def test_refused(row: dict[str, Any]) -> None:
    data = octets(row["hex"])
    tracemalloc.start()
    try:
        assert refused(row["direction"], data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000, "memory for what was only announced"


@pytest.mark.parametrize("row", VECTORS["frames"] + VECTORS["batches"] + VECTORS["tolerated"], ids=title)
def test_truncated_and_with_trailing_bytes(row: dict[str, Any]) -> None:
    data = octets(row["hex"]) if "number" in row else ONE_FRAME + octets(row["hex"])
    ends = range(len(data)) if len(data) < 2000 else [*range(20), *range(len(data) - 20, len(data))]
    assert all(refused(row["direction"], data[:end]) for end in ends)
    assert all(refused(row["direction"], data + more) for more in (b"\x00", b"\xc0", b"\x90", data))


# -- the page ------------------------------------------------------------------------------------------------


def tables() -> dict[str, dict[int, tuple[str, int]]]:
    """Section of the page -> type -> name and number of fields."""
    parts = PAGE.read_text(encoding="utf-8").split("## 4. Frames")[1].split("\n### ")
    return {
        part.partition("\n")[0]: {
            int(number): (name, len(re.sub(r"\[\[.*?\]\]|\[[^\]]*\]", "", fields).split(",")))
            for number, name, fields in re.findall(r"^\| (\d+) \| (\w+) \| (.+) \|$", part, re.MULTILINE)
        }
        for part in parts[1:]
    }


@pytest.mark.parametrize(
    ("direction", "part"), [("app", "From the app server"), ("service", "From the service")]
)
def test_the_page_lists_the_same_frames(direction: str, part: str) -> None:
    page = tables()
    assert page["Both ways"].keys() == {4, 50}
    listed = page["Both ways"] | page[part]
    assert listed == {tag_of(kind): (kind.__name__, len(kind.__struct_fields__)) for kind in KINDS[direction]}


# -- round trips ---------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)


def values(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """All values of a field, small ones and bounds."""
    match kind:
        case inspect.IntType(ge=low, le=high):
            edges = [n + d for n in (0, 2**7, 2**8, 2**16, 2**32, 2**53) for d in (-1, 0, 1)]
            return st.integers(low, high) | st.sampled_from([n for n in edges if low <= n <= high])  # type: ignore[operator]
        case inspect.FloatType(ge=low, le=high):
            return st.floats(low, high)
        case inspect.StructType(cls=cls, fields=fields):
            return st.builds(cls, *(values(field.type) for field in fields))
        case inspect.VarTupleType(item_type=item):
            return st.lists(values(item), max_size=20).map(tuple)
        case inspect.TupleType(item_types=items):
            return st.tuples(*map(values, items))
        case inspect.UnionType(types=types):
            return st.one_of(*map(values, types))
    plain: dict[type[inspect.Type], st.SearchStrategy[Any]] = {
        inspect.StrType: TEXTS,
        inspect.BytesType: st.binary(max_size=300),
        inspect.BoolType: st.booleans(),
        inspect.NoneType: st.none(),
    }
    return plain[type(kind)]


def any_of(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    return values(inspect.type_info(kind))


def as_lists(found: Any) -> Any:
    """A field or a frame as a decoder without our types returns it."""
    if isinstance(found, msgspec.Struct):
        tag = found.__struct_config__.tag
        return [*([] if tag is None else [tag]), *map(as_lists, msgspec.structs.astuple(found))]
    return list(map(as_lists, found)) if isinstance(found, tuple) else found


@pytest.mark.parametrize(("direction", "kind"), EACH_KIND, ids=KIND_IDS)
def test_frames_survive_encoding_and_decoding(direction: str, kind: type[msgspec.Struct]) -> None:
    @settings(max_examples=times(0.4))
    @given(st.data())
    def any_frame(data: st.DataObject) -> None:
        made = data.draw(any_of(kind))
        encoded = v1.encode_frame(made)
        assert msgspec.msgpack.decode(encoded) == as_lists(made)
        assert DECODE[direction](ONE_FRAME + encoded) == (1, 0, [made])

    any_frame()


@DIRECTIONS
def test_batches_survive_encoding_and_decoding(direction: str) -> None:
    whole = st.one_of(*map(any_of, KINDS[direction]))

    @settings(max_examples=times(0.6))
    @given(st.integers(0, 2**53 - 1), st.integers(0, 2**53 - 1), st.lists(whole, max_size=20))
    def any_batch(number: int, ack: int, made: list[Any]) -> None:
        data = v1.encode_batch(number, ack, list(map(v1.encode_frame, made)))
        assert msgspec.msgpack.decode(data) == [number, ack, list(map(as_lists, made))]
        assert DECODE[direction](data) == (number, ack, made)

    any_batch()


@pytest.mark.parametrize(("direction", "kind"), EACH_KIND, ids=KIND_IDS)
def test_additional_fields_are_ignored(direction: str, kind: type[msgspec.Struct]) -> None:
    row = next(
        row for row in VECTORS["frames"] if (row["direction"], row["name"]) == (direction, kind.__name__)
    )
    plain = octets(row["hex"])
    extras: list[Any] = [0, None, "x", b"x", [[]], {"a": [1]}, 1.5]
    for more in extras:
        # From 16 elements on, an array has a longer head.
        head = b"\xdc\x00\x10" if plain[0] == 0x9F else bytes((plain[0] + 1,))
        longer = head + plain[1:] + msgspec.msgpack.encode(more)
        assert DECODE[direction](ONE_FRAME + longer) == (1, 0, [frame(row)])


@pytest.mark.parametrize(("direction", "kind"), EACH_KIND, ids=KIND_IDS)
def test_a_frame_without_its_last_field(direction: str, kind: type[msgspec.Struct]) -> None:
    """Our decoder lets some frames lack it; their default is harmless."""
    row = next(
        row for row in VECTORS["frames"] if (row["direction"], row["name"]) == (direction, kind.__name__)
    )
    shorter = msgspec.msgpack.encode(msgspec.msgpack.decode(octets(row["hex"]))[:-1])
    hellos, traces = (v1.AppHello, v1.ServiceHello), (v1.Trace, v1.Traced)
    optional = (v1.Done, v1.Drain, v1.Sockets, *hellos, *traces, *v1.COUNTED)
    assert refused(direction, ONE_FRAME + shorter) == (kind not in optional)


@DIRECTIONS
@vectors("frames")
def test_a_frame_of_the_other_direction_is_refused(row: dict[str, Any], direction: str) -> None:
    if row["type"] not in map(tag_of, KINDS[direction]):
        assert refused(direction, ONE_FRAME + octets(row["hex"]))


@DIRECTIONS
def test_unknown_types_are_refused(direction: str) -> None:
    known = set(map(tag_of, KINDS[direction]))
    for number in set(range(-130, 300)) | {2**16, 2**32, 2**53}:
        data = msgspec.msgpack.encode([1, 0, [[number, *[1] * 12]]])
        if number not in known:
            assert refused(direction, data)


# -- invalid bytes -------------------------------------------------------------------------------------------


@DIRECTIONS
def test_damaged_batches(direction: str) -> None:
    whole = [ONE_FRAME + octets(row["hex"]) for row in VECTORS["frames"] if row["direction"] == direction]
    words = [b"\x90", b"\x93", b"\xc0", b"\xc4\x01", b"\xdd\xff\xff\xff\xff", b"\xff", b"\xa1\xff"]

    @settings(max_examples=times(5))
    @given(st.randoms(use_true_random=False))
    def any_damage(rng: Random) -> None:
        refused(direction, damaged(rng, whole, words))

    any_damage()


@DIRECTIONS
@settings(max_examples=times(3))
@given(data=st.binary(max_size=60))
@example(b"")
def test_anything(direction: str, data: bytes) -> None:
    refused(direction, data)
    refused(direction, b"\x93\x01\x00" + data)
    refused(direction, ONE_FRAME + data)


@pytest.mark.parametrize(
    ("direction", "head", "piece"),
    [
        ("app", "930100dd{n}", "922b01"),
        ("app", "93010091 95 14 00 01 a12f dd{n}", "a3616161"),
        ("app", "93010091 93 21 01 dd{n}", "9203c403616161"),
        ("service", "930100dd{n}", "9304 01 c400"),
        ("service", "93010091 94 1f 01 90 dd{n}", "97a0a0c00000" + "90c400"),
    ],
)
def test_memory_follows_the_received_bytes(direction: str, head: str, piece: str) -> None:
    """The most expensive content in few bytes. One message may cost `max_batch` times this factor."""
    count = 100_000
    data = bytes.fromhex(head.format(n=f"{count:08x}")) + bytes.fromhex(piece) * count
    tracemalloc.start()
    try:
        DECODE[direction](data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 25 * len(data)
