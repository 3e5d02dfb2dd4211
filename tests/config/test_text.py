from __future__ import annotations

import re

import pytest
import yaml

from moorage.config.load import flatten, load
from moorage.config.model import Config
from moorage.config.schema import SETTINGS
from moorage.config.text import render, starter

KEY = "k" * 32
ODD_HUB = "b`,.[]"


def test_what_is_shown_reads_back_as_the_same() -> None:
    env = {
        "MOORAGE_LIMITS_MAX_PAYLOAD": "1234567",
        "MOORAGE_LINKS_GRACE": "1.5s",
        "MOORAGE_SERVER_PUBLIC_ENDPOINT": "https://a.example",
        "MOORAGE_CORS_ALLOW_ORIGINS": "http://a http://b",
        "MOORAGE_DEFAULT_HUB": "yes",
        "MOORAGE_HUBS": f'{{"chat": {{"anonymous": false}}, "{ODD_HUB}": {{}}, "no": {{}}}}',
    }
    config = load(None, env)
    assert load(None, {"MOORAGE_CONFIG": render(config)}) == config


def test_keys_are_masked_and_sources_named() -> None:
    text = render(load(None, {"MOORAGE_KEYS_PRIMARY": KEY}), {"keys.primary": "MOORAGE_KEYS_PRIMARY"})
    assert KEY not in text
    assert '  primary: "********"  # MOORAGE_KEYS_PRIMARY\n' in text
    assert '  secondary: ""\n' in text


def test_the_defaults_show_every_setting() -> None:
    tree = yaml.safe_load(render(Config()))
    assert set(flatten(load(None, {"MOORAGE_CONFIG": render(Config())}))) >= {
        path for path in SETTINGS if "*" not in path
    }
    assert tree["limits"]["outbox_bytes"] == "4MiB"


def test_the_starter_file_loads_and_holds_the_keys() -> None:
    config = load(None, {"MOORAGE_CONFIG": starter(KEY, "s" * 32)}, serving=True)
    assert (config.keys.primary, config.keys.secondary) == (KEY, "s" * 32)
    assert [text.partition(":")[0] for text in config.warnings] == ["cors.allow_origins"]


def test_what_the_starter_file_has_commented_out_are_the_defaults() -> None:
    text = re.sub(
        r"(?m)^( +)# (?=(?!primary_file|secondary_file|public_endpoint)\w+: )", r"\1", starter(KEY, "s" * 32)
    )
    text = re.sub(r"(?m)^# (?=default_hub: |allow_unlisted)", "", text)
    assert "\n  port: 8080\n" in text
    config = load(None, {"MOORAGE_CONFIG": text})
    assert (config.server, config.limits, config.links) == (Config().server, Config().limits, Config().links)
    assert (config.shutdown, config.log, config.cors) == (Config().shutdown, Config().log, Config().cors)


@pytest.mark.parametrize("hub", ["null", "True", "x-y", "a b"])
def test_names_that_yaml_would_read_as_something_else_are_quoted(hub: str) -> None:
    config = Config(default_hub=hub)
    assert yaml.safe_load(render(config))["default_hub"] == hub
