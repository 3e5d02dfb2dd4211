from __future__ import annotations

import pytest

from moorage.config.rules import parse, show
from moorage.config.schema import RULES, SETTINGS, find, nearest, unknown
from moorage.config.sources import env_names


def test_every_number_has_a_unit_and_a_range() -> None:
    unruled = [
        path
        for path, row in SETTINGS.items()
        if isinstance(row.default, int | float) and not isinstance(row.default, bool) and path not in RULES
    ]
    assert unruled == [], "add a row to config_schema.RULES"


def test_no_rule_is_left_over() -> None:
    assert set(RULES) - set(SETTINGS) == set()


@pytest.mark.parametrize("path", SETTINGS)
def test_every_default_is_allowed_by_its_rule_and_reads_back(path: str) -> None:
    row = SETTINGS[path]
    assert parse(row.rule, row.default) == row.default
    if not isinstance(row.default, tuple):
        assert parse(row.rule, show(row.rule, row.default)) == row.default


def test_environment_names_are_distinct() -> None:
    assert len(env_names()) == len(SETTINGS)
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
