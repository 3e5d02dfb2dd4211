from __future__ import annotations

import pytest

from moorage.config.sources import Given, from_env, from_flags, from_tree, merge

KUBERNETES = {
    "MOORAGE_SERVICE_HOST": "10.0.0.1",
    "MOORAGE_SERVICE_PORT": "8080",
    "MOORAGE_SERVICE_PORT_HTTP": "8080",
    "MOORAGE_PORT": "tcp://10.0.0.1:8080",
    "MOORAGE_PORT_8080_TCP": "tcp://10.0.0.1:8080",
    "MOORAGE_PORT_8080_TCP_PROTO": "tcp",
    "MOORAGE_PORT_8080_TCP_PORT": "8080",
    "MOORAGE_PORT_8080_TCP_ADDR": "10.0.0.1",
    "MOORAGE_METRICS_SERVICE_HOST": "10.0.0.2",
    "MOORAGE_METRICS_PORT": "tcp://10.0.0.2:80",
}


def test_a_tree_becomes_paths() -> None:
    layer = from_tree({"server": {"port": 1}, "default_hub": "x", "limits": None}, "f")
    assert layer.given == {"server.port": Given(1, "f"), "default_hub": Given("x", "f")}
    assert layer.problems == []


def test_all_problems_of_a_tree_are_found() -> None:
    layer = from_tree(
        {
            "server": {"prot": 1, "port": 2},
            "limits": [1],
            "nonsense": 1,
            5: 6,
            "hubs": {"1x": {}, "chat": {"anonymos": 1}, "b": 7, True: {}},
        },
        "f",
    )
    assert layer.given == {
        "server.port": Given(2, "f"),
        "hubs.chat.": Given(None, "f"),
        "hubs.b.": Given(None, "f"),
    }
    assert [problem.partition(":")[0] for problem in layer.problems] == [
        "server.prot",
        "limits",
        "nonsense",
        "5",
        "hubs.1x",
        "hubs.chat.anonymos",
        "hubs.b",
        "hubs.True",
    ]


def test_the_environment_names_settings() -> None:
    layer = from_env(
        {
            "MOORAGE_LIMITS_MAX_PAYLOAD": "2MiB",
            "MOORAGE_DEFAULT_HUB": "x",
            "MOORAGE_KEYS_PRIMARY_FILE": "/k",
            "MOORAGE_SERVER_HOST": "",
            "HOME": "/root",
        }
    )
    assert {path: given.value for path, given in layer.given.items()} == {
        "limits.max_payload": "2MiB",
        "default_hub": "x",
        "keys.primary_file": "/k",
    }
    assert layer.given["default_hub"].source == "MOORAGE_DEFAULT_HUB"


def test_hubs_come_as_json_and_their_pattern_by_name() -> None:
    layer = from_env(
        {"MOORAGE_HUBS": '{"chat": {"anonymous": false}}', "MOORAGE_HUBS_DEFAULT_ANONYMOUS": "no"}
    )
    assert layer.problems == []
    assert set(layer.given) == {"hubs.chat.", "hubs.chat.anonymous", "hubs.default.anonymous"}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MOORAGE_LIMITS_MAX_PAYLODA", "MOORAGE_LIMITS_MAX_PAYLOAD"),
        ("MOORAGE_SERVRE_PORT", "MOORAGE_SERVER_PORT"),
        ("MOORAGE_HUB", "MOORAGE_HUBS"),
        ("MOORAGE_CONFG", "MOORAGE_CONFIG"),
    ],
)
def test_unknown_names_are_refused(name: str, meant: str) -> None:
    (problem,) = from_env({name: "1"}).problems
    assert problem.startswith(f"{name}: no such setting")
    assert problem.endswith(f"did you mean `{meant}`?")


def test_json_of_hubs_that_is_none() -> None:
    for text in ("{", "[" * 100_000):
        (problem,) = from_env({"MOORAGE_HUBS": text}).problems
        assert problem.startswith("MOORAGE_HUBS: expected JSON")
    (problem,) = from_env({"MOORAGE_HUBS": "[]"}).problems
    assert problem.startswith("hubs: expected settings by name")


def test_names_that_kubernetes_sets_are_let_be() -> None:
    layer = from_env({**KUBERNETES, "MOORAGE_CONNECTION_STRING": "x"})
    assert layer.given == {} and layer.problems == []


def test_flags() -> None:
    layer = from_flags(
        {"server.port": 0, "hubs.a.b.anonymous": "no", "hubs.1x.anonymous": "no", "server.prot": 1}
    )
    assert set(layer.given) == {"server.port", "hubs.a.b.anonymous"}
    assert [problem.partition(":")[0] for problem in layer.problems] == [
        "hubs.1x.anonymous".rpartition(".")[0],
        "server.prot",
    ]


def test_later_layers_win() -> None:
    merged = merge(
        [from_flags({"server.port": 1, "server.host": "a"}, "one"), from_flags({"server.port": 2}, "two")]
    )
    assert merged.given == {"server.port": Given(2, "two"), "server.host": Given("a", "one")}


def test_a_key_replaces_a_weaker_source_s_key_file_and_the_reverse() -> None:
    file, env = (
        {"keys": {"primary": "a", "secondary_file": "/s"}},
        {
            "MOORAGE_KEYS_PRIMARY_FILE": "/p",
            "MOORAGE_KEYS_SECONDARY": "b",
        },
    )
    merged = merge([from_tree(file, "f"), from_env(env)])
    assert set(merged.given) == {"keys.primary_file", "keys.secondary"}
    assert merged.problems == []


def test_a_key_and_its_file_from_one_source_contradict() -> None:
    merged = merge([from_tree({"keys": {"primary": "a", "primary_file": "/p"}}, "f")])
    assert merged.problems == ["keys.primary: give the key or keys.primary_file, not both (f)"]
