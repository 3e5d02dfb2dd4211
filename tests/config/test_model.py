from __future__ import annotations

from moorage.config.model import Config, ConfigError, KeySettings
from moorage.hub.settings import HubSettings


def test_a_hub_follows_the_pattern_unless_hubs_are_closed() -> None:
    assert Config().hub("any") is not None
    assert Config(allow_unlisted_hubs=False).hub("any") is None


def test_an_error_has_one_line_for_each_problem() -> None:
    error = ConfigError(["a", "b"])
    assert (str(error), error.problems) == ("a\nb", ("a", "b"))


def test_the_pattern_holds_for_hubs_that_are_not_listed() -> None:
    strict, lax = HubSettings(anonymous=False), HubSettings(anonymous=True)
    config = Config(hubs={"default": strict, "chat": lax})
    assert (config.hub("chat"), config.hub("any")) == (lax, strict)


def test_keys_are_not_in_the_repr() -> None:
    keys = KeySettings(primary="k" * 20)
    assert repr(keys) == "KeySettings(primary='********', secondary='')"
    assert "kkkk" not in repr(Config(keys=keys))
