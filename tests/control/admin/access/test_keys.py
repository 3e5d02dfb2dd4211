"""Keys have roles, and sessions live as long as their key."""

from __future__ import annotations

import jwt
import pytest

from moorage.control.admin.access.keys import AUDIENCE, AdminKeys, Role
from moorage.wire.errors import PeerError
from moorage.wire.reasons import ADMIN_SESSION_OVER, ADMIN_WRONG_KEY

READ, OPERATE = "r" * 32, "o" * 32
NOW = 1_700_000_000.0


@pytest.fixture
def keys() -> AdminKeys:
    return AdminKeys(READ, OPERATE)


def test_roles(keys: AdminKeys) -> None:
    assert keys.enabled
    assert (keys.role_of(READ), keys.role_of(OPERATE)) == (Role.READ, Role.OPERATE)
    assert (Role.READ.shown, Role.OPERATE.shown) == ("read", "operate")
    assert Role.READ < Role.OPERATE


@pytest.mark.parametrize("key", ["", "x", READ[:-1], READ + "r", "\udcff", "é" * 40])
def test_a_wrong_key(keys: AdminKeys, key: str) -> None:
    with pytest.raises(PeerError) as refused:
        keys.role_of(key)
    assert refused.value.reason is ADMIN_WRONG_KEY


@pytest.mark.parametrize(("read", "operate"), [(READ, ""), ("", OPERATE)])
def test_one_key_is_enough(read: str, operate: str) -> None:
    keys = AdminKeys(read, operate)
    assert keys.enabled
    with pytest.raises(PeerError):
        keys.role_of("")


def test_without_a_key() -> None:
    keys = AdminKeys("", "")
    assert not keys.enabled
    with pytest.raises(PeerError):
        keys.role_of("")


@pytest.mark.parametrize("role", list(Role))
def test_a_session(keys: AdminKeys, role: Role) -> None:
    token = keys.begin_session(role, NOW, 60)
    assert keys.session(token, NOW + 59) == (role, NOW + 60)
    # Another node of the cluster has the same keys.
    assert AdminKeys(READ, OPERATE).session(token, NOW).role is role
    with pytest.raises(PeerError) as over:
        keys.session(token, NOW + 61)
    assert over.value.reason is ADMIN_SESSION_OVER


def test_a_session_ends_with_its_key(keys: AdminKeys) -> None:
    read, operate = (keys.begin_session(role, NOW, 60) for role in Role)
    keys.replace(READ, "n" * 32)
    assert keys.session(read, NOW).role is Role.READ
    with pytest.raises(PeerError):
        keys.session(operate, NOW)
    keys.replace("", "")
    with pytest.raises(PeerError):
        keys.session(read, NOW)
    assert not keys.enabled


@pytest.mark.parametrize("secret", [READ, OPERATE, "", "x" * 32])
def test_a_forged_session(keys: AdminKeys, secret: str) -> None:
    """The admin key itself signs no session, so a leaked token does not help to guess it offline."""
    forged = jwt.encode({"aud": AUDIENCE, "exp": NOW + 60}, secret, "HS256" if secret else "none")
    for token in (forged, "", "a.b.c", "x" * 10_000):
        with pytest.raises(PeerError) as refused:
            keys.session(token, NOW)
        assert refused.value.reason is ADMIN_SESSION_OVER


def test_keys_are_not_shown(keys: AdminKeys) -> None:
    assert READ not in repr(keys) and OPERATE not in repr(keys)
