"""The order in which the requests of one session are carried out.

Knows: which paths a request touches and how, which earlier request it has to wait for.
Must not know: what a request does, how long that takes, or SFTP's packets.

The draft promises that requests for one file are carried out in the order in which they were
sent (draft-ietf-secsh-filexfer-02, section 4.1); OpenSSH's server does that for all requests.
An object store is slow, so that here only those wait that could notice.

Rules

1. Two requests *conflict* if they touch the same path, or one of them touches something above
   what the other one touches, and if at least one of them changes it. A request begins when
   all earlier ones that conflict with it have ended.
2. So two lookups never conflict, and neither do two changes in one directory: removing d/f1
   and removing d/f2 overlap, and removing d waits for both.
3. A request that waits holds up only those that conflict with it.
4. CLOSE never waits for an OPEN. An OPEN may itself wait: for memory, which a CLOSE gives
   back, or for that very CLOSE. Nor do CLOSEs wait for each other.
5. CLOSE overtakes requests that have not begun, and these wait for it. An open file has no
   name, so that nothing that happens to a name changes what its CLOSE publishes. So a
   CLOSE waits for requests that are under way and for nothing behind them: no two
   requests ever wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import TypeAlias

Segments: TypeAlias = tuple[str, ...]
"""A resolved path (`plan.paths.canonical`)."""

TREE_SEGMENTS = 16
"""So many segments of a path are nodes of the tree; a path of 1,000 bytes may have 500. What is
equal as far as that is compared."""


class Access(Enum):
    """What a request does to a path.

    :param changes: lookups of the path might find something else before and after it.
    :param may_wait: for memory, or for a CLOSE.
    """

    LOOK = ("look", False, False)
    """STAT, OPENDIR."""
    READ = ("read", False, True)
    """OPEN for reading."""
    OPEN = ("open", True, True)
    """OPEN for writing, and what opens a file to write to it."""
    CHANGE = ("change", True, False)
    """All else that changes a name, or what is below it."""
    CLOSE = ("close", True, False)
    """CLOSE of a file that was open for writing."""

    def __init__(self, label: str, changes: bool, may_wait: bool) -> None:
        self.label = label
        self.changes = changes
        self.may_wait = may_wait


class OrderedRequest:
    """One request's place in the order, until `RequestOrder.leave`."""

    __slots__ = ("access", "awaited", "followers", "has_begun", "nodes", "paths")

    def __init__(self, access: Access) -> None:
        self.access = access
        self.has_begun = False
        self.awaited = 0
        """So many earlier requests must end first."""
        self.followers: dict[OrderedRequest, None] = {}
        """Those that wait for this one, in the order in which they came."""
        self.nodes: tuple[_Node, ...] = ()
        self.paths: tuple[Segments, ...] = ()


class _Node:
    """A path that tickets touch, or that is above one of these."""

    __slots__ = ("below", "changes_below", "changes_here", "children", "here", "parent", "segment")

    def __init__(self, segment: str, parent: _Node | None) -> None:
        self.segment = segment
        self.parent = parent
        self.children: dict[str, _Node] = {}
        self.here: dict[OrderedRequest, None] = {}
        self.changes_here = 0
        self.below = 0
        """How many tickets' paths are below this one; and how many of these are changed."""
        self.changes_below = 0


class RequestOrder:
    """Decides when a request may begin.

    The cost of a request is that of its path's length, and of the requests that conflict with it;
    where something is below its path, of all that are in here. A request that comes alone, as most
    do, has none before another one comes.
    """

    def __init__(self) -> None:
        self._root = _Node("", None)
        self._placed: dict[OrderedRequest, None] = {}
        """Those that are in the tree."""
        self._lone: OrderedRequest | None = None
        self._lone_paths: Iterable[Segments] = ()

    def enter(self, access: Access, paths: Iterable[Segments]) -> OrderedRequest:
        """A request has come that touches these paths. `begin` tells whether it may begin."""
        ticket = OrderedRequest(access)
        if self.is_empty:
            self._lone, self._lone_paths = ticket, paths
            return ticket
        if self._lone is not None:
            lone, self._lone = self._lone, None
            self._place(lone, self._lone_paths)
        self._place(ticket, paths)
        return ticket

    def begin(self, ticket: OrderedRequest) -> bool:
        """Whether the request may begin; if so, it counts as under way from now on."""
        ticket.has_begun = not ticket.awaited
        return ticket.has_begun

    def move(self, ticket: OrderedRequest, paths: Iterable[Segments]) -> None:
        """A CLOSE that has waited, and not begun: by now its file has this path, or none."""
        self._remove(ticket)
        self._place(ticket, paths)

    def leave(self, ticket: OrderedRequest) -> list[OrderedRequest]:
        """The request has ended, or will never begin. Returns those that wait for nothing now."""
        self._remove(ticket)
        if not ticket.followers:
            return []
        free = []
        for follower in ticket.followers:
            follower.awaited -= 1
            if not follower.awaited:
                free.append(follower)
        ticket.followers = {}
        return free

    @property
    def is_empty(self) -> bool:
        """Whether no request is in here."""
        return self._lone is None and not self._placed

    # The tree of paths.

    def _place(self, ticket: OrderedRequest, paths: Iterable[Segments]) -> None:
        for path in paths:
            node = self._reach(ticket, path[:TREE_SEGMENTS])
            if len(path) < TREE_SEGMENTS:
                _relate_all(ticket, node.here, node.changes_here)
            else:
                _relate_all(ticket, _overlapping(path, node.here), node.changes_here)
            if node.below and (node.changes_below or ticket.access.changes):
                _relate_all(ticket, _overlapping(path, self._placed), node.changes_below)
            if ticket not in node.here:
                node.here[ticket] = None
                node.changes_here += ticket.access.changes
            ticket.nodes += (node,)
            ticket.paths += (path,)
        if ticket.paths:
            self._placed[ticket] = None

    def _reach(self, ticket: OrderedRequest, path: Segments) -> _Node:
        """The node of a path; those above it know that `ticket` is below them."""
        changes = ticket.access.changes
        node = self._root
        for segment in path:
            if node.here:
                _relate_all(ticket, node.here, node.changes_here)
            node.below += 1
            node.changes_below += changes
            child = node.children.get(segment)
            if child is None:
                child = node.children[segment] = _Node(segment, node)
            node = child
        return node

    def _remove(self, ticket: OrderedRequest) -> None:
        if ticket is self._lone:
            self._lone = None
            return
        changes = ticket.access.changes
        for node in ticket.nodes:
            if node.here.pop(ticket, ticket) is None:
                node.changes_here -= changes
            _remove_from_above(node, changes)
        ticket.nodes = ticket.paths = ()
        self._placed.pop(ticket, None)


def _remove_from_above(node: _Node, changes: bool) -> None:
    """One ticket less is below the nodes above this one; those that have none are forgotten."""
    while (parent := node.parent) is not None:
        if not (node.here or node.below):
            parent.children.pop(node.segment, None)
        parent.below -= 1
        parent.changes_below -= changes
        node = parent


def _overlapping(path: Segments, tickets: Iterable[OrderedRequest]) -> list[OrderedRequest]:
    """Those of some tickets that touch this path, or something above or below it."""
    return [each for each in tickets if any(_overlap(path, other) for other in each.paths)]


def _overlap(path: Segments, other: Segments) -> bool:
    count = min(len(path), len(other))
    return path[:count] == other[:count]


def _relate_all(ticket: OrderedRequest, others: Iterable[OrderedRequest], changes: int) -> None:
    """Relate `ticket` to those of `others` with which it conflicts; so many change something."""
    if not (changes or ticket.access.changes):
        return
    for other in others:
        if other is not ticket:
            _relate(ticket, other)


def _relate(ticket: OrderedRequest, other: OrderedRequest) -> None:
    """`other` came before `ticket`, and one of them is above the other one, or they are equal."""
    if ticket.access is not Access.CLOSE:
        if ticket.access.changes or other.access.changes:
            _wait(ticket, other)
    elif other.access is Access.CLOSE:
        return
    elif not other.has_begun:
        _wait(other, ticket)
    elif not other.access.may_wait:
        _wait(ticket, other)


def _wait(waiting: OrderedRequest, other: OrderedRequest) -> None:
    if waiting not in other.followers:
        other.followers[waiting] = None
        waiting.awaited += 1
