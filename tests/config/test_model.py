from __future__ import annotations

from moorage.config.model import Config, ConfigError, KeySettings


def test_an_error_has_one_line_for_each_problem() -> None:
    error = ConfigError(["a", "b"])
    assert (str(error), error.problems) == ("a\nb", ("a", "b"))


def test_keys_are_not_in_the_repr() -> None:
    keys = KeySettings(primary="k" * 20)
    assert repr(keys) == "KeySettings(primary='********', secondary='')"
    assert "kkkk" not in repr(Config(keys=keys))
