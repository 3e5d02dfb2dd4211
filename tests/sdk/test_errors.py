"""The exception tree: what application code may catch together."""

from __future__ import annotations

import moorage.sdk
from moorage.sdk import errors


def test_families() -> None:
    assert issubclass(errors.NotSerialisable, errors.UsageError)
    assert issubclass(errors.NotSerialisable, TypeError), "as json.dumps raises it"
    assert issubclass(errors.RequestTimeout, TimeoutError)
    assert issubclass(errors.LinkUnavailable, ConnectionError)
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), errors.MoorageError), name


def test_what_they_carry() -> None:
    assert errors.NotSerialisable("args[0].born", "datetime is not JSON serialisable").path == "args[0].born"
    failed = errors.RequestFailed(2010, "too-many-groups", "at most 64")
    assert (failed.number, failed.reason, str(failed)) == (
        2010,
        "too-many-groups",
        "2010 too-many-groups: at most 64",
    )


def test_all_are_exported() -> None:
    assert set(errors.__all__) <= set(moorage.sdk.__all__)
