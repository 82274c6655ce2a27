"""The order in which the requests of one SFTP channel are carried out.

Knows: which paths a request touches and how, and which earlier requests it waits for.
Must not know: what a request does, how long that takes, or SFTP's packets.

The draft promises that requests for one file are carried out in the order in which they were
sent (draft-ietf-secsh-filexfer-02, section 4.1). OpenSSH's server keeps that order for all
requests. An object store is slow, so here a request waits only for those whose result it could
notice.

Rules

1. Two requests *conflict* if at least one of them changes something, and they touch the same
   path, or the path of one is above the path of the other. A request begins when all earlier
   requests that conflict with it have ended.
2. So two lookups never conflict, and neither do two changes in one directory: removing d/f1
   and removing d/f2 overlap, and removing d waits for both.
3. A request that waits holds up only the requests that conflict with it.
4. A CLOSE never waits for an OPEN. An OPEN may itself wait: for memory, which a CLOSE gives
   back, or for that very CLOSE. Nor do CLOSEs wait for each other.
5. A CLOSE overtakes requests that have not begun, and these wait for it. An open file has no
   name, so a change of names does not change what its CLOSE publishes. So a CLOSE waits only for
   requests that have begun: no two requests ever wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import TypeAlias

Segments: TypeAlias = tuple[str, ...]
"""A path in canonical form (`files.paths.canonical`)."""

TREE_SEGMENTS = 16
"""How many segments of a path become nodes of the tree; a path of 1,000 bytes may have 500. Paths
that are equal that far are compared as a whole."""


class Access(Enum):
    """How a request touches a path.

    :param label: its name.
    :param changes: whether lookups of the path may find something else after it than before.
    :param may_wait: whether it may wait for memory or for a CLOSE once it has begun.
    """

    LOOK = ("look", False, False)
    """STAT, OPENDIR."""
    READ = ("read", False, True)
    """OPEN for reading."""
    OPEN = ("open", True, True)
    """OPEN for writing, and requests that open a file to write to it."""
    CHANGE = ("change", True, False)
    """Any other change of a name, or of something under it."""
    CLOSE = ("close", True, False)
    """CLOSE of a file that was open for writing."""

    def __init__(self, label: str, changes: bool, may_wait: bool) -> None:
        self.label = label
        self.changes = changes
        self.may_wait = may_wait


class OrderedRequest:
    """One request in the order, until `RequestOrder.leave`."""

    __slots__ = ("access", "awaited", "followers", "has_begun", "nodes", "paths")

    def __init__(self, access: Access) -> None:
        self.access = access
        self.has_begun = False
        self.awaited = 0
        """How many earlier requests must end first."""
        self.followers: dict[OrderedRequest, None] = {}
        """The requests that wait for this one, in the order in which they came."""
        self.nodes: tuple[_Node, ...] = ()
        self.paths: tuple[Segments, ...] = ()


class _Node:
    """A path that a request touches, or a path above one."""

    __slots__ = (
        "changes_here",
        "changes_under",
        "children",
        "here",
        "parent",
        "segment",
        "under_count",
    )

    def __init__(self, segment: str, parent: _Node | None) -> None:
        self.segment = segment
        self.parent = parent
        self.children: dict[str, _Node] = {}
        self.here: dict[OrderedRequest, None] = {}
        self.changes_here = 0
        self.under_count = 0
        """How many paths of requests are under this one, and how many of these are changed."""
        self.changes_under = 0


class RequestOrder:
    """Decides when a request may begin.

    A request costs as much as its path is long, and as requests conflict with it; if paths of
    others are under its own, as much as there are requests in here. A request that comes alone, as
    most do, costs nothing until another one comes.
    """

    def __init__(self) -> None:
        self._root = _Node("", None)
        self._in_tree: dict[OrderedRequest, None] = {}
        """The requests that are in the tree."""
        self._lone: OrderedRequest | None = None
        self._lone_paths: Iterable[Segments] = ()

    def enter(self, access: Access, paths: Iterable[Segments]) -> OrderedRequest:
        """Add a request that touches these paths. `begin` tells whether it may begin."""
        request = OrderedRequest(access)
        if self.is_empty:
            self._lone, self._lone_paths = request, paths
            return request
        if self._lone is not None:
            lone, self._lone = self._lone, None
            self._add_to_tree(lone, self._lone_paths)
        self._add_to_tree(request, paths)
        return request

    def begin(self, request: OrderedRequest) -> bool:
        """Whether the request may begin. If so, it counts as begun from now on."""
        request.has_begun = not request.awaited
        return request.has_begun

    def move(self, request: OrderedRequest, paths: Iterable[Segments]) -> None:
        """Give a CLOSE that has waited, and not begun, the path of its file, or none."""
        self._remove(request)
        self._add_to_tree(request, paths)

    def leave(self, request: OrderedRequest) -> list[OrderedRequest]:
        """Remove a request that has ended, or will never begin.

        :returns: the requests that wait for nothing any more.
        """
        self._remove(request)
        if not request.followers:
            return []
        free = []
        for follower in request.followers:
            follower.awaited -= 1
            if not follower.awaited:
                free.append(follower)
        request.followers = {}
        return free

    @property
    def is_empty(self) -> bool:
        """Whether there is no request."""
        return self._lone is None and not self._in_tree

    # The tree of paths.

    def _add_to_tree(self, request: OrderedRequest, paths: Iterable[Segments]) -> None:
        for path in paths:
            node = self._reach(request, path[:TREE_SEGMENTS])
            if len(path) < TREE_SEGMENTS:
                _relate_all(request, node.here, node.changes_here)
            else:
                _relate_all(request, _overlapping(path, node.here), node.changes_here)
            if node.under_count and (node.changes_under or request.access.changes):
                _relate_all(request, _overlapping(path, self._in_tree), node.changes_under)
            if request not in node.here:
                node.here[request] = None
                node.changes_here += request.access.changes
            request.nodes += (node,)
            request.paths += (path,)
        if request.paths:
            self._in_tree[request] = None

    def _reach(self, request: OrderedRequest, path: Segments) -> _Node:
        """The node of a path. The nodes above it count `request` as under them."""
        changes = request.access.changes
        node = self._root
        for segment in path:
            if node.here:
                _relate_all(request, node.here, node.changes_here)
            node.under_count += 1
            node.changes_under += changes
            child = node.children.get(segment)
            if child is None:
                child = node.children[segment] = _Node(segment, node)
            node = child
        return node

    def _remove(self, request: OrderedRequest) -> None:
        if request is self._lone:
            self._lone = None
            return
        changes = request.access.changes
        for node in request.nodes:
            if node.here.pop(request, request) is None:
                node.changes_here -= changes
            _remove_from_above(node, changes)
        request.nodes = request.paths = ()
        self._in_tree.pop(request, None)


def _remove_from_above(node: _Node, changes: bool) -> None:
    """Count one request less under the nodes above this one, and drop the empty ones."""
    while (parent := node.parent) is not None:
        if not (node.here or node.under_count):
            parent.children.pop(node.segment, None)
        parent.under_count -= 1
        parent.changes_under -= changes
        node = parent


def _overlapping(path: Segments, requests: Iterable[OrderedRequest]) -> list[OrderedRequest]:
    """Those requests that touch this path, or a path above or under it."""
    return [each for each in requests if any(_overlap(path, other) for other in each.paths)]


def _overlap(path: Segments, other: Segments) -> bool:
    count = min(len(path), len(other))
    return path[:count] == other[:count]


def _relate_all(request: OrderedRequest, others: Iterable[OrderedRequest], changes: int) -> None:
    """Make `request` wait for those of `others` that it conflicts with, or these for it.

    :param changes: how many of the others change something.
    """
    if not (changes or request.access.changes):
        return
    for other in others:
        if other is not request:
            _relate(request, other)


def _relate(request: OrderedRequest, other: OrderedRequest) -> None:
    """Decide which one waits, if any. `other` came first, and their paths overlap."""
    if request.access is not Access.CLOSE:
        if request.access.changes or other.access.changes:
            _wait(request, other)
    elif other.access is Access.CLOSE:
        return
    elif not other.has_begun:
        _wait(other, request)
    elif not other.access.may_wait:
        _wait(request, other)


def _wait(waiting: OrderedRequest, other: OrderedRequest) -> None:
    if waiting not in other.followers:
        other.followers[waiting] = None
        waiting.awaited += 1
