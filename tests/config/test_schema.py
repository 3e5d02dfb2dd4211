from __future__ import annotations

import pytest

from moorage.config.rules import Rule, parse, show
from moorage.config.schema import RENAMED, SETTINGS, find, nearest, unknown
from moorage.config.sources import env_names


def test_every_number_has_a_range() -> None:
    unbounded = [
        path
        for path, row in SETTINGS.items()
        if row.rule.kind in ("count", "size", "seconds") and row.rule.high is None
    ]
    assert unbounded == [], "annotate the field with Meta(ge=..., le=...)"


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("limits.max_payload", Rule("size", 1024, 1024**3)),
        ("links.keepalive", Rule("seconds", 1, 110)),
        ("server.port", Rule("count", 0, 65535)),
        ("server.host", Rule("text")),
        ("keys.primary", Rule("secret")),
        ("cors.allow_origins", Rule("origins")),
        ("cors.credentials", Rule("choice", choices=("listed", "any"))),
        ("metrics.enabled", Rule("flag")),
    ],
)
def test_a_field_declares_its_rule(path: str, rule: Rule) -> None:
    assert SETTINGS[path].rule == rule


@pytest.mark.parametrize("path", SETTINGS)
def test_every_default_is_allowed_by_its_rule_and_reads_back(path: str) -> None:
    row = SETTINGS[path]
    assert parse(row.rule, row.default) == row.default
    if not isinstance(row.default, tuple):
        assert parse(row.rule, show(row.rule, row.default)) == row.default


def test_environment_names_are_distinct() -> None:
    assert len(env_names()) == len(SETTINGS) + len(RENAMED)
    assert env_names()["MOORAGE_SHUTDOWN_GRACE"] == "shutdown.lb_wait"
    assert env_names()["MOORAGE_LIMITS_MAX_PAYLOAD"] == "limits.max_payload"
    assert env_names()["MOORAGE_HUBS_DEFAULT_ANONYMOUS"] == "hubs.default.anonymous"


def test_paths_of_hubs_with_dots() -> None:
    assert find("hubs.a.b.anonymous") is SETTINGS["hubs.*.anonymous"]
    assert find("hubs.anonymous") is None
    assert find("hubs.a.") is None
    assert find("warnings") is None


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("limits.max_payloda", "limits.max_payload"),
        ("max_payload", "limits.max_payload"),
        ("server.max_payload", "limits.max_payload"),
        ("limit.max_groups", "limits.max_groups"),
        ("link", "links"),
        ("hubs.chat.anonymus", "hubs.chat.anonymous"),
    ],
)
def test_the_nearest_key(path: str, meant: str) -> None:
    assert f"did you mean `{meant}`?" in unknown(path, "x.yaml")


def test_nothing_is_near_to_nonsense() -> None:
    assert nearest("qqqq.zzzz", SETTINGS) is None
    assert unknown("qqqq.zzzz", "x.yaml") == "qqqq.zzzz: no such setting (x.yaml)"
