"""Which payloads the service must handle itself, because they also change its own state."""

from __future__ import annotations

import pytest

from moorage.hub.commands.deliver import is_special


@pytest.mark.parametrize(
    ("payload", "special"),
    [
        (b'42["a"]', False),
        (b"2", False),
        (b"430[]", False),
        (b'451-["a"]\x1ebYWI=', False),
        (b'42["40"]', False),
        (b'40{"sid":"x"}', True),
        (b"41", True),
        (b"41/ns,", True),
        (b'44{"message":"x"}', True),
        (b"1", True),
        (b'42["a"]\x1e1', True),
        (b'42["a"]\x1e42["b"]\x1e41', True),
    ],
)
def test_payloads_that_the_service_must_handle(payload: bytes, special: bool) -> None:
    assert is_special(payload) == special
