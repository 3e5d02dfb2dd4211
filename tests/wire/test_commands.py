"""The vocabulary itself: values that compare, and defaults that mean what they say."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from moorage.wire.commands import (
    DONE,
    EVERYONE,
    NOT_FOUND,
    Command,
    Exists,
    Outcome,
    Selection,
    Send,
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


def test_a_selection_without_parts_is_everyone() -> None:
    assert Selection() == EVERYONE
    assert Exists("hub", EVERYONE) == Exists("hub", Selection(excluded=()))


def test_outcomes() -> None:
    assert Outcome() == DONE
    assert DONE.found
    assert not NOT_FOUND.found
    assert DONE != NOT_FOUND
