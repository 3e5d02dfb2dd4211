"""Evaluation of a selection in steps. The candidates are the connections that exist at the beginning; later
ones are not selected. Each candidate is checked when its turn comes, so one that has left by then is not
selected either."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator

import msgspec

from moorage.hub.hub import Connection
from moorage.hub.rooms import Directory, weight
from moorage.hub.turns import STEP, Job
from moorage.wire.commands import Selection
from moorage.wire.groups import prefix_of


def parts(directory: Directory[Connection], to: Selection) -> Iterator[Collection[Connection]]:
    """The selected connections, one step's worth at a time; a part may be empty. A part is valid until the
    caller yields; after that, connections in it may have left."""
    if to.connection is not None or (to.filter is not None and to.filter.connection_id is not None):
        yield tuple(directory.select(to))
        return
    candidates, group, rest = yield from _candidates(directory, to)
    condition = rest.filter
    unwanted: set[Connection] = set()
    if condition is not None and len(condition.none_of) > 1:
        unwanted = yield from _union(directory, condition.none_of)
        rest = _with_filter(rest, none_of=())
    predicate = None
    if condition is not None and condition.text:
        # Once for all steps: other commands may push a long text's predicate out of its cache.
        predicate = condition.predicate
        rest = _with_filter(rest, text="")
    connections = directory.connections
    size = max(1, STEP // (1 if condition is None else weight(condition)))
    for start in range(0, len(candidates), size):
        found = candidates[start : start + size]
        if group:
            found = [c for c in found if group in c.groups]
        else:
            found = [c for c in found if c.id in connections]
        if to.user is not None:
            found = [c for c in found if c.user_id == to.user]
        if unwanted:
            found = [c for c in found if c not in unwanted]
        if predicate is not None:
            found = [c for c in found if predicate(c)]
        yield directory.refine(found, rest, candidates_hold=False)


def selected(directory: Directory[Connection], to: Selection) -> Job[list[Connection]]:
    """All selected connections. Some may have left by the time the job ends."""
    found: list[Connection] = []
    for part in parts(directory, to):
        found += part
        yield False
    return found


_Parts = Generator[Collection[Connection], None, tuple[list[Connection], str, Selection]]


def _candidates(directory: Directory[Connection], to: Selection) -> _Parts:
    """The candidates, the group that each must still be in when its turn comes ("": it must be connected),
    and the conditions that are left to check."""
    if to.group is not None:
        return list(directory.rooms.members(to.group)), to.group, to
    wanted = to.filter.any_of if to.filter is not None and to.user is None else None
    if wanted is None:
        everyone = directory.connections.values() if to.user is None else directory.of_user(to.user)
        return list(everyone), "", to
    rest = _with_filter(to, any_of=None)
    if len(wanted) == 1:
        return list(directory.rooms.members(wanted[0])), wanted[0], rest
    # Checking a candidate for one of many groups again could take long. What matters is that its socket is
    # still in the namespace, so only the namespace is checked.
    prefix = prefix_of(wanted[0])
    union = yield from _union(directory, wanted)
    if not all([group.startswith(prefix) for group in wanted]):
        prefix = ""
    return list(union), prefix, rest


def _union(
    directory: Directory[Connection], groups: tuple[str, ...]
) -> Generator[Collection[Connection], None, set[Connection]]:
    found: set[Connection] = set()
    work = 0
    for group in groups:
        members = directory.rooms.members(group)
        found.update(members)
        work += 1 + len(members)
        if work >= STEP:
            work = 0
            yield ()
    return found


def _with_filter(to: Selection, **changes: object) -> Selection:
    assert to.filter is not None
    return msgspec.structs.replace(to, filter=msgspec.structs.replace(to.filter, **changes))
