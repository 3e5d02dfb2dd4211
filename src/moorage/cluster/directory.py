"""Which nodes have members of which group. A command for a group goes only to these nodes.

Each node tells the others of a group's first and last local member, in numbered deltas, one for each tick.
Each peer of the same region acknowledges the number. A join is in effect in its region once all these peers
have acknowledged the delta with its group. Peers of other regions learn of it as soon as the delta is there,
and nobody waits for them. A peer that is new, or that has lost a delta, asks for a snapshot.

A peer that is alive but does not acknowledge a delta for `LATE_SECONDS` is late. Joins do not wait for it any
longer, and their answers name it, until it has acknowledged everything again.

Groups are 64-bit hashes: the table is exact but for a collision, which costs a needless message at most. A
private room (the room of one socket) has no entry, since clients come and go more often than rooms. So a
group without any entry may be a private room, and commands for it go to all nodes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from moorage import logs
from moorage.wire.cluster.messages import Acknowledged, Delta, Snapshot, WantGroups

HASH_BYTES: Final = 8
RETRY_SECONDS: Final = 1.0
LATE_SECONDS: Final = 5.0
"""Longest time that a join waits for a peer. A lost message is sent again, or given up, in less time."""
MAX_TICK: Final = 1.0
"""If two ticks are further apart, this process stood still, and the input of that time is not read yet. More
than these seconds do not count."""
SNAPSHOT_GROUPS: Final = 50_000
"""Groups in one part of a snapshot, 400 kB."""
SWEEP_GROUPS: Final = 20_000
"""Groups from which a tick takes the bits of nodes that are gone, about 7 ms."""

log: Final = logs.get("cluster")

Tell = Callable[[str | None, Delta | Acknowledged | Snapshot | WantGroups], object]
"""Sends a message to one node, or to all (None)."""


@lru_cache(maxsize=10_000)
def hash_of(hub: str, group: str) -> bytes:
    """The name of a group in the directory. Hubs compare without case."""
    return blake2b(f"{hub.casefold()}\0{group}".encode(), digest_size=HASH_BYTES).digest()


class _Peer:
    """One other node: which deltas it has, and which of its deltas this node has."""

    __slots__ = ("acknowledged", "arriving", "bit", "has_groups", "known", "late", "near", "number", "owes")

    def __init__(self, bit: int, number: int, *, near: bool) -> None:
        self.bit = bit
        self.near = near
        """True if it is in this node's region. Only such a peer acknowledges deltas, and joins wait for
        it."""
        self.acknowledged = number
        """The last of this node's deltas that it has."""
        self.number = 0
        """The last of its deltas that this node has."""
        self.has_groups = False
        """True if groups may have its bit."""
        self.known = False
        """True once its snapshot is complete. Until then every command goes to it."""
        self.arriving = False
        """True if a part of its snapshot has come since the last check, and more will."""
        self.late = False
        """True if joins do not wait for it, because it has not acknowledged for too long."""
        self.owes = 0
        """The number up to which joins did not wait for it."""


class Directory:
    """The directory as one node sees it. `schedule` calls `flush` at the end of the tick."""

    def __init__(self, tell: Tell, schedule: Callable[[], object]) -> None:
        self._tell = tell
        self._schedule = schedule
        self._peers: dict[str, _Peer] = {}
        self._nodes: dict[int, str] = {}
        """Incarnations by their bit in the table."""
        self._unknown = 0
        """Bits of the peers whose groups are not known."""
        self._stale = 0
        """Bits that no node has any more. Some groups may still have them, so they do not count."""
        self._sweeping = 0
        """Bits that the current pass over the table removes."""
        self._unswept: list[bytes] = []
        """Groups that the pass has not reached."""
        self._table: dict[bytes, int] = {}
        """Bits of the nodes that have members of a group."""
        self._own: dict[bytes, int] = {}
        """Number of this node's groups with the hash: one, unless two collide."""
        self._added: dict[bytes, None] = {}
        self._removed: dict[bytes, None] = {}
        self._number = 0
        """Number of the last delta."""
        self._pending: dict[bytes, int] = {}
        """Groups in deltas that a peer has not acknowledged, with the delta's number."""
        self._unacknowledged: deque[tuple[int, tuple[bytes, ...]]] = deque()
        """Deltas that a peer has not acknowledged: their numbers and what they add."""
        self._waiting: dict[int, deque[Callable[[], object]]] = {}
        """Callbacks, with the delta that each waits for."""
        self._next = 0.0
        self._ticked = self._time = 0.0
        """Time of the last tick, and the time by which peers are judged."""
        self._past: deque[tuple[float, int]] = deque([(0.0, 0)])
        """The number of the last delta at each tick of the last `LATE_SECONDS`, and at one before."""
        self.unaware: tuple[str, ...] = ()
        """Peers for which joins did not wait, and which may not know all groups of this node."""
        self.times_late = 0
        """Number of times that a peer became late."""
        self._expected: dict[bytes, dict[str, int]] = {}
        """Nodes that are about to have a group, with the number of reasons."""

    def __len__(self) -> int:
        table, own = self._table, self._own
        # Not as a set of both: there may be a million, and a scrape of the metrics asks.
        return len(table) + len(own) - sum(map(table.__contains__, own))

    # -- groups of this node --------------------------------------------------------------------

    def first(self, hub: str, group: str) -> None:
        """A group has its first member on this node."""
        key = hash_of(hub, group)
        count = self._own.get(key, 0)
        self._own[key] = count + 1
        if count == 0:
            if key in self._removed:
                # The peers have not been told that it went, and need not be.
                del self._removed[key]
            else:
                self._note(self._added, key)

    def last(self, hub: str, group: str) -> None:
        """A group has lost its last member on this node."""
        key = hash_of(hub, group)
        count = self._own.get(key, 0)
        if count > 1:
            self._own[key] = count - 1
        elif count == 1:
            del self._own[key]
            # A join of it may wait, so a delta that is not sent yet keeps the group.
            self._note(self._removed, key)

    def _note(self, changes: dict[bytes, None], key: bytes) -> None:
        if not self._added and not self._removed:
            self._schedule()
        changes[key] = None
        if changes is self._added:
            self._pending[key] = self._number + 1

    def flush(self) -> None:
        """The end of the tick: one delta with all changes."""
        added, removed = self._added, self._removed
        if not added and not removed:
            return
        self._added, self._removed = {}, {}
        self._number += 1
        self._unacknowledged.append((self._number, tuple(added)))
        self._tell(None, Delta(self._number, b"".join(added), b"".join(removed)))
        self._settle()

    def when_visible(self, hub: str, groups: Iterable[str], call: Callable[[], object]) -> None:
        """Call back once all peers of the region know that this node has members of these groups: at once, if
        they do."""
        pending = self._pending
        number = max((pending.get(hash_of(hub, group), 0) for group in groups), default=0) if pending else 0
        if number:
            self._waiting.setdefault(number, deque()).append(call)
        else:
            call()

    def is_pending(self, hub: str, groups: Iterable[str]) -> bool:
        """True if a peer does not know yet that this node has members of one of these groups."""
        return bool(self._pending) and any(hash_of(hub, group) in self._pending for group in groups)

    def _settle(self) -> None:
        """Make the calls that wait for a delta which all peers of the region have, late ones excepted."""
        awaited = (peer.acknowledged for peer in self._peers.values() if peer.near and not peer.late)
        done = min(awaited, default=self._number)
        while self._unacknowledged and self._unacknowledged[0][0] <= done:
            number, keys = self._unacknowledged[0]
            for key in keys:
                if self._pending.get(key) == number:
                    del self._pending[key]
            waiting = self._waiting.get(number)
            while waiting:
                # One by one: if a call fails, the others still get theirs with the next message or tick.
                waiting.popleft()()
            if self._unacknowledged and self._unacknowledged[0][0] == number:
                self._unacknowledged.popleft()
                self._waiting.pop(number, None)

    # -- groups of the others ---------------------------------------------------------------------

    def add(self, node: str, *, near: bool = True) -> None:
        """A node is there, in this node's region (`near`) or in another one. Until its groups are known,
        every command goes to it."""
        # Joins wait for it from now on. It does not need earlier ones: it does not know this node's groups.
        self._peers[node] = _Peer(self._new_bit(node), self._number, near=near)
        self._tell(node, WantGroups())

    def _new_bit(self, node: str) -> int:
        """A bit for a node whose groups are not known yet."""
        bit = 1
        while bit in self._nodes or bit & self._stale:
            bit <<= 1
        self._nodes[bit] = node
        self._unknown |= bit
        return bit

    def remove(self, node: str) -> None:
        """A node is gone."""
        peer = self._peers.pop(node)
        self._forget(peer)
        del self._nodes[peer.bit]
        self._unknown &= ~peer.bit
        self.unaware = tuple(name for name in self.unaware if name != node)
        self._settle()

    def _forget(self, peer: _Peer) -> None:
        """Forget a node's groups. A large table is swept in steps: a whole pass would stop the loop."""
        if peer.has_groups:
            peer.has_groups = False
            self._stale |= peer.bit
            self._sweep()

    def _sweep(self) -> None:
        if not self._unswept:
            self._sweeping, self._unswept = self._stale, list(self._table)
        keys = self._unswept[-SWEEP_GROUPS:]
        del self._unswept[-SWEEP_GROUPS:]
        for key in keys:
            if self._table.get(key, 0) & self._sweeping:
                self._clear(key, self._sweeping)
        if not self._unswept:
            self._stale &= ~self._sweeping

    def _clear(self, key: bytes, bit: int) -> None:
        bits = self._table.get(key, 0) & ~bit
        if bits:
            self._table[key] = bits
        else:
            self._table.pop(key, None)

    def tick(self, now: float) -> None:
        """Time passes: ask again for groups that did not come, perhaps because the other node did not know
        this one. Do not wait any longer for peers that do not acknowledge."""
        if self._stale:
            self._sweep()
        self._time += min(now - self._ticked, MAX_TICK)
        self._ticked = now
        self._find_late()
        if now >= self._next:
            self._next = now + RETRY_SECONDS
            for name, peer in self._peers.items():
                if not peer.known and not peer.arriving:
                    self._tell(name, WantGroups())
                peer.arriving = False

    def _find_late(self) -> None:
        past = self._past
        past.append((self._time, self._number))
        while len(past) > 1 and past[1][0] <= self._time - LATE_SECONDS:
            past.popleft()
        overdue = past[0][1] if past[0][0] <= self._time - LATE_SECONDS else 0
        for name, peer in self._peers.items():
            late = peer.near and peer.acknowledged < overdue
            if late and not peer.late:
                self.times_late += 1
                log.warning("joins do not wait for a node that does not acknowledge groups", incarnation=name)
            elif peer.late and not late:
                peer.owes = self._number
                log.info("joins wait again for a node", incarnation=name)
            peer.late = late
        behind = [name for name, peer in self._peers.items() if peer.late or peer.acknowledged < peer.owes]
        if behind or self.unaware or self._unacknowledged:
            self.unaware = tuple(behind)
            self._settle()

    def wanted(self, node: str) -> None:
        """A node asks for all groups of this one. It gets them in parts."""
        peer = self._peers.get(node)
        if peer is None:
            return
        # What it has lost may have been acknowledgements.
        self._acknowledge(node, peer)
        self.flush()
        keys = list(self._own)
        for start in range(0, max(1, len(keys)), SNAPSHOT_GROUPS):
            end = start + SNAPSHOT_GROUPS
            part = b"".join(keys[start:end])
            self._tell(node, Snapshot(self._number, start == 0, end >= len(keys), part))

    def gap(self, node: str) -> None:
        """A message of a node was lost: its groups are unknown until it has sent them all again."""
        peer = self._peers.get(node)
        if peer is not None:
            peer.known = False
            self._unknown |= peer.bit

    def snapshot(self, node: str, part: Snapshot) -> None:
        """A part of a node's groups has arrived."""
        peer = self._peers.get(node)
        if peer is None:
            return
        if part.first:
            self.gap(node)
            if peer.has_groups:
                # A new bit begins without groups.
                self._forget(peer)
                del self._nodes[peer.bit]
                self._unknown &= ~peer.bit
                peer.bit = self._new_bit(node)
            peer.number = part.number
        if part.number == peer.number:
            self._set(peer, part.groups)
            peer.arriving = not part.last
            if part.last:
                peer.known = True
                self._unknown &= ~peer.bit
                self._acknowledge(node, peer)

    def delta(self, node: str, change: Delta) -> None:
        """A node's groups have changed."""
        peer = self._peers.get(node)
        if peer is None or change.number <= peer.number:
            return
        if peer.known and change.number != peer.number + 1:
            self.gap(node)
        peer.number = change.number
        bit = peer.bit
        self._set(peer, change.added)
        for key in _keys(change.removed):
            self._clear(key, bit)
        self._acknowledge(node, peer)

    def _acknowledge(self, node: str, peer: _Peer) -> None:
        if peer.near:
            self._tell(node, Acknowledged(peer.number))

    def _set(self, peer: _Peer, groups: bytes) -> None:
        table, bit = self._table, peer.bit
        peer.has_groups = True
        for key in _keys(groups):
            table[key] = table.get(key, 0) | bit

    def acknowledged(self, node: str, number: int) -> None:
        """A node has this node's groups up to the delta with this number."""
        peer = self._peers.get(node)
        if peer is not None and peer.acknowledged < number <= self._number:
            peer.acknowledged = number
            self._settle()

    # -- where a command goes ---------------------------------------------------------------------

    def nodes_with(self, hub: str, groups: Iterable[str]) -> set[str] | None:
        """The other nodes that may have members of one of the groups; None for all of them."""
        bits, found = self._unknown, set[str]()
        for group in groups:
            key = hash_of(hub, group)
            here = self._table.get(key, 0) & ~self._stale
            expected = self._expected.get(key)
            if not here and not expected and key not in self._own:
                return None
            bits |= here
            found.update(expected or ())
        nodes = self._nodes
        while bits:
            bit = bits & -bits
            found.add(nodes[bit])
            bits ^= bit
        return found

    def expect(self, hub: str, groups: Iterable[str], nodes: Iterable[str]) -> Callable[[], None]:
        """These nodes are being told to let clients join these groups: commands that follow go there too,
        until the returned function is called, when the nodes have answered."""
        keys, names = [hash_of(hub, group) for group in groups], tuple(nodes)
        for key in keys:
            counts = self._expected.setdefault(key, {})
            for name in names:
                counts[name] = counts.get(name, 0) + 1

        def over() -> None:
            for key in keys:
                counts = self._expected[key]
                for name in names:
                    counts[name] -= 1
                    if not counts[name]:
                        del counts[name]
                if not counts:
                    del self._expected[key]

        return over


def _keys(joined: bytes) -> Iterable[bytes]:
    for start in range(0, len(joined), HASH_BYTES):
        yield joined[start : start + HASH_BYTES]
