"""Tokens and audiences: what is let in, and each way of being refused with its own reason."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.auth import (
    MAX_TOKEN,
    AccessKeys,
    Claims,
    bearer,
    client_audience,
    sign,
    verify,
)
from moorage.wire.errors import PeerError, UsageError

NOW = 1_800_000_000.0
LEEWAY = 30.0
PRIMARY = "primary-0123456789abcdef0123456789"
SECONDARY = "secondary-0123456789abcdef01234567"
AUD = "http://localhost:8080/clients/socketio/hubs/chat"
# Any PEM will do: the attack is that its text is public, so that anybody can use it as a secret.
PUBLIC_KEY = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAK==\n-----END PUBLIC KEY-----\n"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forge(payload: Any, *, header: Any = None, key: str = PRIMARY) -> str:
    """A token as an attacker writes it: any header, any payload text, signed with any text."""
    head = {"alg": "HS256", "typ": "JWT"} if header is None else header
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (head, payload)]
    return sealed(".".join(map(b64, parts)), key)


def sealed(signed: str, key: str = PRIMARY) -> str:
    return f"{signed}.{b64(hmac.digest(key.encode(), signed.encode(), hashlib.sha256))}"


def claims(**changes: Any) -> dict[str, Any]:
    return {"aud": AUD, "exp": NOW + 60, **changes}


def check(token: str, keys: AccessKeys | None = None, now: float = NOW) -> Claims:
    return verify(token, keys or AccessKeys(PRIMARY, SECONDARY), {AUD}, now, LEEWAY)


def refused(token: str, keys: AccessKeys | None = None, now: float = NOW) -> str:
    with pytest.raises(PeerError) as caught:
        check(token, keys, now)
    return caught.value.reason.name


GOOD = forge(claims())


class TestVerify:
    def test_reads_user_groups_expiry_and_every_claim(self) -> None:
        found = check(
            forge(
                claims(
                    sub="bob",
                    userId="not bob",
                    role=["a", "b"],
                    admin=True,
                    nothing=None,
                    deep={"x": [1]},
                    **{"webpubsub.group": ["g1", "g2", "g1"]},
                )
            )
        )
        assert found.user_id == "bob"
        assert found.groups == ("g1", "g2")
        assert found.expires == NOW + 60
        assert found.all == {
            "aud": [AUD],
            "exp": ["1800000060.0"],
            "sub": ["bob"],
            "userId": ["not bob"],
            "role": ["a", "b"],
            "admin": ["true"],
            "nothing": ["null"],
            "deep": ['{"x":[1]}'],
            "webpubsub.group": ["g1", "g2", "g1"],
        }

    def test_user_id_claim_stands_in_for_sub(self) -> None:
        assert check(forge(claims(userId="bob"))).user_id == "bob"
        assert check(forge(claims(sub="", userId="bob"))).user_id == "bob"
        assert check(GOOD).user_id is None

    def test_one_group_may_be_a_plain_string(self) -> None:
        assert check(forge(claims(**{"webpubsub.group": "g"}))).groups == ("g",)

    def test_accepts_what_pyjwt_makes(self) -> None:
        token = jwt.encode({"aud": [AUD, "x"], "exp": int(NOW) + 1}, PRIMARY, "HS256", headers={"kid": "k"})
        assert check(token).expires == int(NOW) + 1

    def test_integer_times_stay_integers_in_texts(self) -> None:
        assert check(forge(claims(exp=1795 + int(NOW)))).all["exp"] == ["1800001795"]

    @pytest.mark.parametrize("exp", [10**15, 10**18, 2**63 - 1, 10**300, 10**3000])
    def test_huge_expiry_is_cut_to_an_exact_number(self, exp: int) -> None:
        assert check(forge(claims(exp=exp))).expires == min(exp, 2**53)

    @pytest.mark.parametrize("key", [PRIMARY, SECONDARY])
    def test_either_key_will_do(self, key: str) -> None:
        check(forge(claims(), key=key))

    def test_rotation_takes_effect_at_once(self) -> None:
        keys = AccessKeys(PRIMARY)
        old, new = forge(claims()), forge(claims(), key="new")
        assert refused(new, keys) == "token-signature"
        keys.replace("new", PRIMARY)
        check(old, keys)
        check(new, keys)
        keys.replace("new")
        assert refused(old, keys) == "token-signature"
        check(new, keys)

    @pytest.mark.parametrize(
        ("changes", "at", "reason"),
        [
            ({"exp": NOW}, NOW + 29.9, None),
            ({"exp": NOW}, NOW + 30, "token-expired"),
            ({"exp": -1}, NOW, "token-expired"),
            ({"nbf": NOW + 30}, NOW, None),
            ({"nbf": NOW + 30.1}, NOW, "token-not-yet"),
            ({"iat": NOW + 30}, NOW, None),
            ({"iat": NOW + 31}, NOW, "token-not-yet"),
            ({"nbf": 2**63 - 1}, NOW, "token-not-yet"),
            ({"nbf": None, "iat": None}, NOW, None),
        ],
    )
    def test_times_with_their_edges(self, changes: dict[str, Any], at: float, reason: str | None) -> None:
        token = forge(claims(**changes))
        if reason is None:
            check(token, now=at)
        else:
            assert refused(token, now=at) == reason

    def test_any_of_several_audiences(self) -> None:
        check(forge(claims(aud=["http://elsewhere", AUD])))


ATTACKS = {
    "empty": ("", "token-missing"),
    "one part": ("abc", "token-malformed"),
    "two parts": (GOOD.rpartition(".")[0], "token-malformed"),
    "four parts": (GOOD + ".x", "token-malformed"),
    "five parts, an encrypted token": ("a.b.c.d.e", "token-malformed"),
    "too long": (forge(claims(pad="x" * MAX_TOKEN)), "token-malformed"),
    "not ascii": (GOOD + "é", "token-malformed"),
    "lone surrogate": (GOOD[:-1] + "\ud800", "token-malformed"),
    "white space": (GOOD + "\n", "token-malformed"),
    "standard base64": (GOOD.replace(".", ".+/", 1), "token-signature"),
    "padded signature": (GOOD + "=", "token-malformed"),
    "signature cut": (GOOD[:-3], "token-signature"),
    "signature empty": (GOOD.rpartition(".")[0] + ".", "token-signature"),
    "payload exchanged": (
        f"{GOOD.split('.')[0]}.{b64(json.dumps(claims(sub='admin')).encode())}.{GOOD.split('.')[2]}",
        "token-signature",
    ),
    "signed with another key": (forge(claims(), key="other"), "token-signature"),
    "signed with an empty key": (forge(claims(), key=""), "token-signature"),
    "alg none, unsigned": (
        forge(claims(), header={"alg": "none"}).rpartition(".")[0] + ".",
        "token-algorithm",
    ),
    "alg none, signed": (forge(claims(), header={"alg": "none"}), "token-algorithm"),
    "alg None in odd case": (forge(claims(), header={"alg": "nOnE"}), "token-algorithm"),
    "alg hs256": (forge(claims(), header={"alg": "hs256"}), "token-algorithm"),
    "alg HS512": (jwt.encode(claims(exp=int(NOW) + 60), PRIMARY * 2, "HS512"), "token-algorithm"),
    "alg RS256 over an HMAC": (forge(claims(), header={"alg": "RS256"}), "token-algorithm"),
    "public key as secret": (forge(claims(), key=PUBLIC_KEY), "token-signature"),
    "RS256 with it": (forge(claims(), header={"alg": "RS256"}, key=PUBLIC_KEY), "token-algorithm"),
    "no alg": (forge(claims(), header={"typ": "JWT"}), "token-algorithm"),
    "alg is a list": (forge(claims(), header={"alg": ["HS256"]}), "token-malformed"),
    "alg is null": (forge(claims(), header={"alg": None}), "token-malformed"),
    "header is a list": (forge(claims(), header=["HS256"]), "token-malformed"),
    "header is no JSON": (forge(claims(), header=b"{"), "token-malformed"),
    "header is no UTF-8": (forge(claims(), header=b'{"alg":"HS\xff"}'), "token-malformed"),
    "header is deep": (forge(claims(), header=b'{"x":' + b"[" * 3000 + b"}"), "token-malformed"),
    "critical extension": (forge(claims(), header={"alg": "HS256", "crit": ["b64"]}), "token-malformed"),
    "payload is a list": (forge([claims()]), "token-malformed"),
    "payload is no JSON": (forge(b"x"), "token-malformed"),
    "payload is deep": (forge(b'{"x":' + b"[" * 3000 + b"}"), "token-malformed"),
    "payload is no base64": (sealed(GOOD.split(".")[0] + ".!!"), "token-malformed"),
    "exp is NaN": (forge(b'{"aud":"x","exp":NaN}'), "token-malformed"),
    "exp is Infinity": (forge(b'{"aud":"x","exp":Infinity}'), "token-malformed"),
    "exp is 1e999": (forge(b'{"aud":"x","exp":1e999}'), "token-malformed"),
    "exp has 5,000 digits": (forge(b'{"aud":"x","exp":' + b"9" * 5000 + b"}"), "token-malformed"),
    "exp missing": (forge({"aud": AUD}), "token-claims"),
    "exp null": (forge(claims(exp=None)), "token-claims"),
    "exp text": (forge(claims(exp=str(NOW + 60))), "token-claims"),
    "exp true": (forge(claims(exp=True)), "token-claims"),
    "exp list": (forge(claims(exp=[NOW + 60])), "token-claims"),
    "nbf text": (forge(claims(nbf="0")), "token-claims"),
    "iat object": (forge(claims(iat={})), "token-claims"),
    "aud missing": (forge({"exp": NOW + 60}), "token-claims"),
    "aud empty list": (forge(claims(aud=[])), "token-claims"),
    "aud number": (forge(claims(aud=1)), "token-claims"),
    "aud list of numbers": (forge(claims(aud=[AUD, 1])), "token-claims"),
    "aud wrong": (forge(claims(aud="http://localhost:8080/clients/socketio/hubs/other")), "token-audience"),
    "auds wrong": (forge(claims(aud=["x", "y"])), "token-audience"),
    "sub number": (forge(claims(sub=1)), "token-claims"),
    "userId list": (forge(claims(userId=["bob"])), "token-claims"),
    "group number": (forge(claims(**{"webpubsub.group": 1})), "token-claims"),
    "group empty": (forge(claims(**{"webpubsub.group": [""]})), "token-claims"),
    "group blank": (forge(claims(**{"webpubsub.group": " \t"})), "token-claims"),
    "group long": (forge(claims(**{"webpubsub.group": "x" * 1025})), "token-claims"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(name: str) -> None:
    token, reason = ATTACKS[name]
    assert refused(token) == reason


def test_refusal_of_an_audience_names_both_sides() -> None:
    with pytest.raises(PeerError) as caught:
        verify(GOOD, AccessKeys(PRIMARY), client_audience("example.org", "chat"), NOW, LEEWAY)
    assert caught.value.detail == (
        f"it names {AUD}, expected example.org/clients/socketio/hubs/chat with any scheme"
    )


@given(st.text() | st.lists(st.text("abcdefgh-_=.", max_size=9), max_size=4).map(".".join))
def test_any_text_is_claims_or_a_refusal(token: str) -> None:
    with pytest.raises(PeerError):
        check(token)


@given(
    header=st.binary(max_size=20) | st.just(b'{"alg":"HS256"}'),
    payload=st.binary(max_size=20)
    | st.dictionaries(
        st.sampled_from(["aud", "exp", "nbf", "iat", "sub", "userId", "webpubsub.group", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=6,
        ),
    ).map(lambda value: json.dumps(value).encode()),
)
def test_any_signed_content_is_claims_or_a_refusal(header: bytes, payload: bytes) -> None:
    token = forge(payload, header=header)
    try:
        found = verify(token, AccessKeys(PRIMARY), lambda aud: True, NOW, LEEWAY)
    except PeerError as error:
        assert error.reason.name.startswith("token-")
    else:
        assert isinstance(found, Claims)


class TestAccessKeys:
    def test_repr_keeps_the_secret(self) -> None:
        keys = AccessKeys(PRIMARY, SECONDARY)
        assert PRIMARY not in repr(keys)
        assert SECONDARY not in repr(keys)
        assert keys.primary == PRIMARY
        assert keys.secrets == (PRIMARY.encode(), SECONDARY.encode())

    @pytest.mark.parametrize("key", ["", PUBLIC_KEY, "ssh-rsa AAAAB3Nza", "\ud800"])
    def test_refuses_what_cannot_be_a_secret(self, key: str) -> None:
        with pytest.raises(UsageError) as caught:
            AccessKeys(key)
        assert not key or key not in str(caught.value)

    def test_failed_rotation_keeps_the_old_keys(self) -> None:
        keys = AccessKeys(PRIMARY)
        with pytest.raises(UsageError):
            keys.replace("")
        assert keys.secrets == AccessKeys(PRIMARY, "").secrets


class TestSign:
    def test_claims_are_those_of_the_sdks(self) -> None:
        token = sign(
            AccessKeys(PRIMARY, SECONDARY), AUD, NOW + 0.5, 60, user="bob", groups=["g"], roles=("r",)
        )
        read = jwt.decode(
            token, PRIMARY, ["HS256"], options={"verify_exp": False, "verify_iat": False}, audience=AUD
        )
        assert read == {
            "aud": AUD,
            "iat": 1_800_000_000,
            "exp": 1_800_000_061,
            "sub": "bob",
            "userId": "bob",
            "role": ["r"],
            "webpubsub.group": ["g"],
        }
        assert check(token).user_id == "bob"

    def test_nothing_more_than_asked_for(self) -> None:
        assert set(check(sign(AccessKeys("k"), AUD, NOW, 60), AccessKeys("k")).all) == {"aud", "iat", "exp"}

    def test_extra_claims(self) -> None:
        token = sign(AccessKeys(PRIMARY), AUD, NOW, 60, extra={"tenant": "blue"})
        assert check(token).all["tenant"] == ["blue"]
        with pytest.raises(UsageError, match="exp"):
            sign(AccessKeys(PRIMARY), AUD, NOW, 60, extra={"exp": 0})


class TestBearer:
    @pytest.mark.parametrize("value", ["Bearer abc", "bearer abc", "BEARER  abc "])
    def test_token(self, value: str) -> None:
        assert bearer(value) == "abc"

    @pytest.mark.parametrize("value", ["", "abc", "Bearer", "Bearer ", "Basic abc"])
    def test_missing(self, value: str) -> None:
        with pytest.raises(PeerError) as caught:
            bearer(value)
        assert caught.value.reason.name == "token-missing"
