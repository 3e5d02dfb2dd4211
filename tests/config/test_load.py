from __future__ import annotations

import json
from pathlib import Path

import pytest

from moorage.config.load import changes, load, reloaded, resolve
from moorage.config.model import Config, ConfigError

KEY = "k" * 32


def write(folder: Path, text: str, name: str = "moorage.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_wrong_entry_of_a_long_list_is_named() -> None:
    good = [f"10.0.{number}.0/24" for number in range(250)]
    cases = [
        ("server.deny", "10.0.0.300", "'10.0.0.300' "),
        ("server.deny", "10.0.0.1/8", "'10.0.0.1/8'; the network is 10.0.0.0/8 "),
        ("server.trusted_proxies", "2001:db8::1/32", "'2001:db8::1/32'; the network is 2001:db8::/32 "),
    ]
    for path, wrong, told in cases:
        with pytest.raises(ConfigError) as refused:
            load(None, {}, {path: [*good, wrong, *good]})
        assert f"found {told}" in str(refused.value)
    with pytest.raises(ConfigError) as refused:
        load(None, {}, {"cors.allow_origins": ["https://a.example", "b.example/x"]})
    assert "found 'b.example/x' " in str(refused.value)


def test_nothing_given_is_the_defaults() -> None:
    assert load(None, {}) == Config()


def test_flags_over_environment_over_file_over_the_commands_own_over_defaults(tmp_path: Path) -> None:
    path = write(
        tmp_path, "server: {port: 2, backlog: 2, keep_alive: 2, post_wait: 2}\nlog: {level: error}\n"
    )
    env = {"MOORAGE_SERVER_PORT": "3", "MOORAGE_SERVER_BACKLOG": "3"}
    base = {"server.keep_alive": 1, "log.format": "human"}
    config, sources = resolve(path, env, {"server.port": 4}, base=base)
    assert (config.server.port, config.server.backlog, config.server.keep_alive) == (4, 3, 2)
    assert (config.log.format, config.server.body_timeout) == ("human", 30)
    assert sources["server.port"] == "command line"
    assert sources["server.backlog"] == "MOORAGE_SERVER_BACKLOG"
    assert sources["server.keep_alive"] == str(path)
    assert sources["log.format"] == "default"
    assert "server.body_timeout" not in sources


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "limits: {max_payload: 2MiB}\nlinks: {grace: 500ms}\ncors: {allow_origins: [http://a]}"),
        (
            "a.toml",
            '[limits]\nmax_payload = "2MiB"\n[links]\ngrace = 0.5\n[cors]\nallow_origins = ["http://a"]',
        ),
        (
            "a.json",
            '{"limits": {"max_payload": 2097152}, "links": {"grace": "0.5"}, "cors": {"allow_origins": "http://a"}}',
        ),
    ],
)
def test_three_formats_give_the_same(tmp_path: Path, name: str, text: str) -> None:
    config = load(write(tmp_path, text, name), {})
    assert (config.limits.max_payload, config.links.grace) == (2 * 1024**2, 0.5)
    assert config.cors.allow_origins == ("http://a",)


def test_the_whole_file_can_come_by_environment(tmp_path: Path) -> None:
    env = {"MOORAGE_CONFIG": "server: {port: 5, backlog: 5}", "MOORAGE_SERVER_PORT": "6"}
    server = load(None, env).server
    assert (server.port, server.backlog) == (6, 5)
    with pytest.raises(ConfigError, match="MOORAGE_CONFIG: a configuration file is given too"):
        load(write(tmp_path, ""), env)


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, "limits: {max_payloda: 1, max_groups: lots}\nserver: {port: 70000}\n")
    with pytest.raises(ConfigError) as caught:
        load(
            path,
            {"MOORAGE_LOG_LEVEL": "loud", "MOORAGE_NONSENSE": "1"},
            {"links.grace": "soon"},
            serving=True,
        )
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "limits.max_payloda",
        "MOORAGE_NONSENSE",
        "limits.max_groups",
        "server.port",
        "log.level",
        "links.grace",
        "keys.primary",
    ]
    text = str(caught.value)
    assert f"server.port: expected a whole number, 0 to 65535, found 70000 ({path})" in text
    assert "found 'soon' (command line)" in text


def test_a_file_that_cannot_be_read_hides_no_other_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "none.yaml", {"MOORAGE_SERVER_PORT": "x"})
    assert len(caught.value.problems) == 2


def test_a_file_that_cannot_be_read_may_hold_the_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, "server: {}\nserver: {}"), {}, serving=True)
    (problem,) = caught.value.problems
    assert problem.endswith("`server` is set twice, at line 2")


def test_a_key_that_is_no_text_is_neither_shown_nor_called_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, "keys: {primary: 12345678901234567890}"), {}, serving=True)
    (problem,) = caught.value.problems
    assert problem.startswith("keys.primary: expected text (put it in quotes)")
    assert "12345" not in problem


def test_long_values_are_cut_in_messages() -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {"MOORAGE_SERVER_PORT": "x" * 10_000})
    assert len(str(caught.value)) < 200


def test_key_files_are_read_and_stripped(tmp_path: Path) -> None:
    write(tmp_path, f"{KEY}\n", "primary")
    path = write(tmp_path, "keys: {primary_file: primary}")
    assert load(path, {}, serving=True).keys.primary == KEY
    # The environment's path is not relative to the file.
    other = write(tmp_path, "o" * 20, "other")
    assert load(path, {"MOORAGE_KEYS_PRIMARY_FILE": str(other)}).keys.primary == "o" * 20
    assert load(path, {"MOORAGE_KEYS_PRIMARY": "e" * 20}).keys.primary == "e" * 20


@pytest.mark.parametrize(("body", "why"), [(None, "cannot be read"), ("\n", "no key in it")])
def test_a_key_file_without_a_key(tmp_path: Path, body: str | None, why: str) -> None:
    if body is not None:
        write(tmp_path, body, "k")
    with pytest.raises(ConfigError) as caught:
        load(None, {"MOORAGE_KEYS_PRIMARY_FILE": str(tmp_path / "k")}, serving=True)
    (problem,) = caught.value.problems
    assert problem.startswith("keys.primary_file: ") and why in problem


def test_hubs_listed_and_not(tmp_path: Path) -> None:
    path = write(tmp_path, "hubs:\n  default: {anonymous: false}\n  chat: {anonymous: true}\n  mute:\n")
    config = load(path, {})
    # `mute` says nothing and so follows the pattern: to list a hub must not open it.
    found = {name: hub.anonymous for name, hub in config.hubs.items()}
    assert found == {"default": False, "chat": True, "mute": False}
    assert config.allow_unlisted_hubs
    closed = load(path, {"MOORAGE_ALLOW_UNLISTED_HUBS": "no", "MOORAGE_DEFAULT_HUB": "chat"})
    assert not closed.allow_unlisted_hubs


def test_a_hub_s_name_may_hold_dots_and_the_names_of_settings() -> None:
    config = load(None, {"MOORAGE_HUBS": json.dumps({"a.anonymous": {"anonymous": False}})})
    assert list(config.hubs) == ["a.anonymous"]
    assert load(None, {}, {"hubs.a.b.anonymous": "no"}).hubs["a.b"].anonymous is False


def test_warnings_are_part_of_the_configuration_and_no_setting() -> None:
    (warning,) = load(None, {"MOORAGE_SERVER_HOST": "0.0.0.0"}).warnings
    assert warning.startswith("server.host: ")
    with pytest.raises(ConfigError, match="warnings: no such setting"):
        load(None, {"MOORAGE_CONFIG": "warnings: [a]"})


def test_keys_are_not_in_the_repr() -> None:
    config = load(None, {"MOORAGE_KEYS_PRIMARY": KEY, "MOORAGE_KEYS_SECONDARY": KEY})
    assert KEY not in repr(config) and KEY not in str(config)


def test_a_reload_applies_keys_and_hubs_and_names_the_rest() -> None:
    old = load(None, {"MOORAGE_KEYS_PRIMARY": KEY})
    new = load(
        None,
        {
            "MOORAGE_KEYS_PRIMARY": "n" * 20,
            "MOORAGE_SERVER_PORT": "1",
            "MOORAGE_HUBS": '{"chat": {"anonymous": false}}',
        },
    )
    assert changes(old, new) == (
        ("keys.primary", "hubs.chat.anonymous"),
        ("server.port",),
    )
    after = reloaded(old, new)
    assert (after.keys, after.hubs, after.server.port) == (new.keys, new.hubs, 8080)
    # The port still waits for the restart, and is said to again.
    assert changes(after, new) == ((), ("server.port",))


def test_admin_keys_of_files(tmp_path: Path) -> None:
    (tmp_path / "read").write_text("r" * 20 + "\n")
    found = load(None, {"MOORAGE_ADMIN_READ_KEY_FILE": str(tmp_path / "read")})
    assert (found.admin.read_key, found.admin.enabled) == ("r" * 20, True)
    with pytest.raises(ConfigError, match=r"admin\.operate_key_file"):
        load(None, {"MOORAGE_ADMIN_OPERATE_KEY_FILE": str(tmp_path / "none")})


def test_a_reload_changes_admin_keys_only_if_there_was_one() -> None:
    def config(**admin: object) -> Config:
        return load(None, {}, {f"admin.{name}": value for name, value in admin.items()})

    off, first, second = config(), config(read_key="r" * 16), config(read_key="s" * 16, session_ttl=60)
    assert changes(off, first) == ((), ("admin.read_key",))
    assert reloaded(off, first).admin == off.admin
    assert changes(first, second) == (("admin.read_key",), ("admin.session_ttl",))
    after = reloaded(first, second)
    assert (after.admin.read_key, after.admin.session_ttl) == ("s" * 16, first.admin.session_ttl)
    assert not reloaded(first, off).admin.enabled
