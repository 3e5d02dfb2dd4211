"""The complete check of a filter, as the reference for the hub's indexes."""

from __future__ import annotations

from moorage.wire.filters.compiled import Filter, Subject


def matches(condition: Filter, subject: Subject) -> bool:
    """True if all parts of `condition` hold for `subject`."""
    if condition.connection_id is not None and condition.connection_id != subject.id:
        return False
    groups = subject.groups
    if condition.any_of is not None and not any(group in groups for group in condition.any_of):
        return False
    if any(group in groups for group in condition.none_of):
        return False
    return condition.predicate is None or condition.predicate(subject)
