from __future__ import annotations

from typing import Any

import pytest

from moorage.cluster.recovery.settings import StoreSettings
from moorage.cluster.settings import ClusterSettings
from moorage.config.check import HOW_TO_GET_A_KEY, problems, warnings
from moorage.config.model import Config, KeySettings, ShutdownSettings
from moorage.control.admin.settings import AdminSettings
from moorage.edge.settings import CompressionSettings, CorsSettings, EdgeLimits, ServerSettings
from moorage.hub.settings import HubSettings

KEY = "k" * 32
OPEN = CorsSettings(credentials="any")
CLOSED = {"default": HubSettings(anonymous=False)}
EVERYWHERE = ServerSettings(host="0.0.0.0")


def keys(primary: str = KEY, secondary: str = "") -> Config:
    return Config(keys=KeySettings(primary=primary, secondary=secondary))


def test_the_defaults_are_fine_but_a_service_needs_a_key() -> None:
    assert list(problems(Config(), serving=False)) == []
    assert list(problems(Config(), serving=True)) == [("keys.primary", HOW_TO_GET_A_KEY)]
    assert list(problems(keys(), serving=True)) == []
    assert list(warnings(keys())) == []


def test_a_proxy_protocol_without_proxies() -> None:
    config = Config(server=ServerSettings(proxy_protocol=True))
    ((path, told),) = problems(config, serving=False)
    assert (path, "server.trusted_proxies" in told) == ("server.proxy_protocol", True)


def test_a_secondary_key_alone() -> None:
    assert [path for path, _ in problems(keys("", KEY), serving=False)] == ["keys.secondary"]


@pytest.mark.parametrize("bad", ["a b", "a;b", "a\nb", "ä", 'a"b', "a'b", "a\\b", "\x00"])
def test_a_key_must_fit_into_a_connection_string(bad: str) -> None:
    found = list(problems(keys(KEY + bad, KEY + bad), serving=True))
    assert [path for path, _ in found] == ["keys.primary", "keys.secondary"]
    assert bad not in found[0][1]


def test_base64_keys_fit() -> None:
    assert list(problems(keys("ab+/cd=="), serving=True)) == []


def test_weak_and_equal_keys_are_warned_of_without_showing_them() -> None:
    (weak,) = warnings(keys("sixteen-less-1!"))
    assert weak.startswith("keys.primary: only 15 characters") and "sixteen" not in weak
    (equal,) = warnings(keys(KEY, KEY))
    assert equal.startswith("keys.secondary: the same")


def test_the_default_hub_must_exist_where_hubs_are_closed() -> None:
    closed = Config(allow_unlisted_hubs=False, hubs={"chat": HubSettings()})
    assert [path for path, _ in problems(closed, serving=False)] == ["default_hub"]
    listed = Config(allow_unlisted_hubs=False, hubs={"chat": HubSettings()}, default_hub="chat")
    assert list(problems(listed, serving=False)) == []


def test_an_empty_host_is_no_host() -> None:
    empty = Config(server=ServerSettings(host=""))
    assert [path for path, _ in problems(empty, serving=False)] == ["server.host"]


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (Config(server=EVERYWHERE), "hubs that are not listed"),
        (Config(server=ServerSettings(host="live.example.org")), "hubs that are not listed"),
        (
            Config(server=EVERYWHERE, hubs={"default": HubSettings(anonymous=False), "chat": HubSettings()}),
            "hub chat",
        ),
        (
            Config(server=EVERYWHERE, allow_unlisted_hubs=False, default_hub="b", hubs={"b": HubSettings()}),
            "hub b",
        ),
    ],
)
def test_open_hubs_on_an_open_address_are_warned_of(config: Config, named: str) -> None:
    (warning,) = warnings(config)
    assert f"no access token for {named} (" in warning


@pytest.mark.repair(26)
def test_open_hubs_behind_a_proxy_are_warned_of() -> None:
    server = ServerSettings(public_endpoint="https://live.example")
    (warning,) = warnings(Config(server=server))
    assert warning.startswith("server.public_endpoint: https://live.example can be reached")
    assert "hubs.default.anonymous: false" in warning
    assert list(warnings(Config(server=server, hubs=CLOSED))) == []
    (warning,) = warnings(Config(server=server, hubs={**CLOSED, "lobby": HubSettings()}))
    assert "no access token for hub lobby (" in warning


def test_a_public_endpoint_on_loopback_is_not_public() -> None:
    for url in ("http://127.0.0.1:8080", "https://localhost", "http://[::1]:8080"):
        assert list(warnings(Config(server=ServerSettings(public_endpoint=url)))) == []
        (warning,) = warnings(Config(server=ServerSettings(host="0.0.0.0", public_endpoint=url)))
        assert warning.startswith("server.host: 0.0.0.0 can be reached")


def test_no_such_warning_on_loopback_or_with_tokens() -> None:
    assert list(warnings(Config())) == []
    assert list(warnings(Config(server=EVERYWHERE, hubs={"default": HubSettings(anonymous=False)}))) == []


def test_compression_that_compresses_nothing() -> None:
    def told(**settings: Any) -> list[str]:
        compression = CompressionSettings(**settings)
        return list(warnings(Config(server=ServerSettings(compression=compression))))

    assert told(enabled=True, threshold=2048, max_size=2048) == []
    assert told(enabled=False, threshold=2049, max_size=2048) == []
    (warning,) = told(enabled=True, threshold=2049, max_size=2048)
    assert warning.startswith("server.compression.threshold: ")


def test_settings_that_clash() -> None:
    config = Config(
        limits=EdgeLimits(
            max_payload=100_000_000,
            outbox_bytes=3 << 20,
            outbox_hard_bytes=2 << 20,
            outbox_total_bytes=1 << 20,
        ),
        shutdown=ShutdownSettings(lb_wait=10, spread=30, timeout=30),
    )
    assert [text.partition(":")[0] for text in warnings(config)] == [
        "limits.outbox_hard_bytes",
        "limits.outbox_total_bytes",
        "limits.outbox_bytes_link",
        "shutdown.timeout",
    ]


@pytest.mark.repair(6)
@pytest.mark.parametrize(
    ("config", "serving", "named"),
    [
        (Config(), True, "cors.allow_origins: no origin is listed"),
        (Config(), False, ""),
        (Config(cors=CorsSettings(allow_origins=("*", "https://a"))), True, ""),
        (Config(cors=CorsSettings(allow_origins=("https://a",))), True, ""),
        (Config(cors=CorsSettings(allow_origins=("null",))), True, "cors.allow_origins: any page can"),
        (Config(cors=CorsSettings(credentials="any")), True, ""),
        (Config(cors=OPEN, server=EVERYWHERE, hubs=CLOSED), False, "cors.credentials: any page"),
    ],
)  # fmt: skip
def test_who_may_send_cookies_is_warned_of(config: Config, serving: bool, named: str) -> None:
    found = list(warnings(config, serving=serving))
    assert [text.startswith(named) for text in found] == ([True] if named else [])


@pytest.mark.parametrize(
    ("read", "operate", "path", "told"),
    [
        ("short", "", "admin.read_key", "only 5 characters"),
        ("", "o" * 15, "admin.operate_key", "only 15 characters"),
        ("a b" * 10, "", "admin.read_key", "printable ASCII"),
        (KEY, "", "admin.read_key", "the same as keys.primary"),
        ("", "s" * 32, "admin.operate_key", "the same as keys.secondary"),
        ("r" * 32, "r" * 32, "admin.operate_key", "the same as admin.read_key"),
    ],
)
def test_admin_keys_that_are_refused(read: str, operate: str, path: str, told: str) -> None:
    config = Config(
        keys=KeySettings(primary=KEY, secondary="s" * 32),
        admin=AdminSettings(read_key=read, operate_key=operate),
    )
    ((found, text),) = problems(config, serving=True)
    assert found == path and told in text
    assert (read or operate) not in text


def test_admin_keys_that_are_accepted() -> None:
    for read, operate in (("", ""), ("r" * 16, ""), ("", "o" * 16), ("r" * 16, "o" * 16)):
        config = Config(
            keys=KeySettings(primary=KEY), admin=AdminSettings(read_key=read, operate_key=operate)
        )
        assert list(problems(config, serving=True)) == []
        assert "rrr" not in repr(config) and "ooo" not in repr(config)


@pytest.mark.parametrize(
    ("config", "paths"),
    [
        (Config(recovery=StoreSettings(store="jetstream")), ["recovery.store"]),
        (Config(recovery=StoreSettings(store="jetstream"), workers=2), []),
        (
            Config(
                recovery=StoreSettings(store="jetstream"), cluster=ClusterSettings(nats_url=("nats://a",))
            ),
            [],
        ),
        (Config(recovery=StoreSettings(store="file")), ["recovery.folder"]),
        (Config(recovery=StoreSettings(store="file", folder="/data")), []),
        (Config(recovery=StoreSettings(store="file", folder="/data"), workers=2), ["recovery.store"]),
        (
            Config(
                recovery=StoreSettings(store="file", folder="/data"),
                cluster=ClusterSettings(nats_url=("nats://a",)),
            ),
            ["recovery.store"],
        ),
    ],
)
def test_where_recovery_stores(config: Config, paths: list[str]) -> None:
    assert [path for path, _ in problems(config, serving=False)] == paths
