"""The frames by which one app server has a session at each of several nodes. Revision 4 of `moorage.v1`."""

from __future__ import annotations

from moorage.wire.moorage.rows import Count, Fields


class NodeRow(Fields):
    """One node of `Nodes`."""

    id: str
    """Its incarnation."""
    name: str
    """For people."""
    url: str
    """Where app servers reach it; "" if they reach it by their own endpoint."""
    region: str
    cover: bool
    """True if the app server should have a session there."""


class Nodes(Fields, tag=51):
    """All live nodes of the cluster, the sender included. A list with a lower version is outdated."""

    version: Count
    rows: tuple[NodeRow, ...]


class Cover(Fields, tag=52):
    """What the sender covers: the first frame of each session of an app server that covers several nodes,
    and sent again on all of them after each change."""

    term: Count
    """Grows with each change. All sessions get the same one with the same change."""
    home: bool
    """True if the receiver forwards the app server's commands to nodes outside `nodes`."""
    fence: bool
    """True if the receiver must hold what follows until the home's mark has arrived."""
    nodes: tuple[str, ...]
    """Incarnations of all nodes at which the app server has a live session, the receiver included."""
