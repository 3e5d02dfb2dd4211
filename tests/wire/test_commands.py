"""Commands: comparable values with meaningful defaults."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from moorage.wire.commands import (
    DONE,
    EVERYONE,
    NOT_FOUND,
    Ask,
    Cast,
    Command,
    Exists,
    Found,
    Member,
    Outcome,
    Selection,
    Send,
    Server,
    Write,
    merged,
)


def test_commands_are_frozen_values() -> None:
    command = Send("hub", Selection(group="g"), b"42[]")
    assert command == Send("hub", Selection(group="g"), b"42[]")
    assert command != Send("hub", Selection(group="h"), b"42[]")
    assert hash(command) == hash(Send("hub", Selection(group="g"), b"42[]"))
    with pytest.raises(AttributeError):
        command.hub = "other"  # type: ignore[misc]


@pytest.mark.parametrize("kind", get_args(Command))
def test_every_command_names_its_hub_first(kind: type[msgspec.Struct]) -> None:
    assert kind.__struct_fields__[0] == "hub"
    assert kind.__struct_config__.frozen


def test_a_selection_without_parts_selects_all() -> None:
    assert Selection() == EVERYONE
    assert Exists("hub", EVERYONE) == Exists("hub", Selection(excluded=()))


def test_outcomes() -> None:
    assert Outcome() == DONE
    assert DONE.found
    assert not NOT_FOUND.found
    assert DONE != NOT_FOUND


def test_the_kinds_cover_all_commands() -> None:
    kinds = [get_args(Cast), get_args(Write), get_args(Ask)]
    assert sum(map(len, kinds)) == len({*kinds[0], *kinds[1], *kinds[2]}) == len(get_args(Command))


# -- outcomes of several nodes, merged


def test_merged_counts() -> None:
    parts = [Outcome(reached=2, rooms=3, asked=1), NOT_FOUND, Outcome(reached=1, missing=("n2", "n3"))]
    assert merged(parts) == Outcome(reached=3, rooms=3, asked=1, missing=("n2", "n3"))
    assert merged([NOT_FOUND, NOT_FOUND]) == NOT_FOUND


def test_a_merged_page_is_in_order_and_no_longer_than_asked_for() -> None:
    rows = [Member(name, None) for name in "abcde"]
    one = Outcome(members=(rows[0], rows[3]), reached=2)
    two = Outcome(members=(rows[1], rows[2]), reached=2, more=True)
    assert merged([one, two], 4) == Outcome(members=tuple(rows[:4]), reached=4, more=True)
    assert merged([one, Outcome(members=(rows[1],))], 2) == Outcome(
        members=tuple(rows[:2]), reached=2, more=True
    )
    assert merged([one, Outcome()], 2) == one


def test_an_app_server_on_two_nodes_is_listed_once() -> None:
    one = Outcome(servers=(Server("s1", "moorage", False, 2), Server("s2", "azure", True, 1)))
    two = Outcome(servers=(Server("s1", "moorage", True, 3),))
    assert merged([one, two]).servers == (Server("s1", "moorage", True, 5), Server("s2", "azure", True, 1))


def test_merged_rows_of_sockets_stay_with_their_app_server() -> None:
    row = Found("/", "a", "c", None, 0, (), b"{}")
    parts = [Outcome(sockets={"s1": iter([[row]])}), Outcome(sockets={"s1": iter([[row], [row]]), "s2": []})]
    assert {name: list(rows) for name, rows in merged(parts).sockets.items()} == {"s1": [[row]] * 3, "s2": []}
