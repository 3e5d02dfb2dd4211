"""Names of groups: the form of Azure's SDK, one name per room, and disjoint prefixes."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from moorage.wire.groups import MAX_GROUP, namespace_group, prefix_of, room_group, room_of
from moorage.wire.socketio import MAX_NAMESPACE

TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
NAMESPACES = TEXTS.map("/".__add__)


def test_names_as_the_sdk_writes_them() -> None:
    assert namespace_group("/") == "0~Lw~"
    assert namespace_group("/n") == "0~L24~"
    assert room_group("/", "room1") == "0~Lw~cm9vbTE"
    assert room_group("/ü?", "a~b") == "0~L8O8Pw~YX5i"
    # The url-safe alphabet, without padding.
    assert room_group("/", "\xff\xbf\xfb?~") == "0~Lw~w7_Cv8O7P34"


@given(NAMESPACES, TEXTS, NAMESPACES, TEXTS)
def test_a_name_means_one_room(namespace: str, room: str, other_namespace: str, other_room: str) -> None:
    assume((namespace, room) != (other_namespace, other_room))
    assert room_group(namespace, room) != room_group(other_namespace, other_room)


@given(NAMESPACES, TEXTS, NAMESPACES)
def test_prefixes_keep_namespaces_apart(namespace: str, room: str, other: str) -> None:
    group = room_group(namespace, room)
    assert group.startswith(namespace_group(namespace))
    assert prefix_of(group) == namespace_group(namespace)
    assert group.startswith(namespace_group(other)) == (namespace == other)


@pytest.mark.parametrize("name", ["", "~", "0~", "0~Lw", "1~Lw~x", "plain", "a~b~c", "~0~Lw~"])
def test_names_of_another_form(name: str) -> None:
    assert prefix_of(name) == ""


@given(st.text(max_size=30))
def test_other_names_have_no_prefix(name: str) -> None:
    prefix = prefix_of(name)
    if name.startswith("0~") and "~" in name[2:]:
        assert name.startswith(prefix)
        assert prefix.endswith("~")
    else:
        assert prefix == ""


def test_the_longest_namespace_fits_into_a_group_name() -> None:
    assert len(namespace_group("/" + "n" * (MAX_NAMESPACE - 1))) < MAX_GROUP - 100


@given(NAMESPACES, TEXTS)
def test_a_rooms_group_contains_its_room(namespace: str, room: str) -> None:
    assert room_of(room_group(namespace, room)) == ((namespace, room) if room else None)


@pytest.mark.parametrize(
    "name",
    [
        "", "plain", "0~Lw~", "0~Lw", "1~Lw~cm9vbTE", "0~Lw~cm9vbTE~x", "0~L~eA", "0~Lw~e", "0~Lw~_w",
        "0~Lw~\u20ac", "0~\u20ac~eA", "0~Lw~!!", "0~Lw~cm9vbTF", "0~Lw~cm9vbTE=", "0~Lw==~eA",
    ],
)  # fmt: skip
def test_other_names_are_not_rooms(name: str) -> None:
    assert room_of(name) is None


@given(st.text(max_size=30))
def test_any_group_name_of_the_rest_api(name: str) -> None:
    found = room_of(name)
    assert found is None or found[1] != ""
