"""What one operation costs a server.

Knows: the clock, a server's CPU and memory, and a store's count of requests.
Must not know: what the operation does.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable

from bench.figures import Sample
from bench.processes import BenchError
from bench.servers import Server

COUNTERS_SECONDS = 10.0

Counter = Callable[[], int | None]


def measured(
    server: Server,
    work: Callable[[], None],
    *,
    case: str,
    operation: str,
    payload_bytes: int,
    count_requests: Counter = lambda: None,
) -> Sample:
    """Do `work` and tell what it took. All of its processes must live throughout."""
    server.forget_peak()
    requests = count_requests()
    cpu_seconds, began = server.cpu_seconds(), time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    cpu_seconds = server.cpu_seconds() - cpu_seconds
    after = count_requests()
    counted = None if requests is None or after is None else after - requests
    peak_bytes = server.peak_bytes()
    return Sample(
        server.name, case, operation, payload_bytes, seconds, cpu_seconds, peak_bytes, counted
    )


def counters_at(url: str | None) -> Counter:
    """Asks a store how many requests it has had: `url` answers JSON with ``requests``."""
    if url is None:
        return lambda: None

    def count() -> int:
        try:
            with urllib.request.urlopen(url, timeout=COUNTERS_SECONDS) as answer:
                return int(json.load(answer)["requests"])
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise BenchError(f"{url} tells no requests: {problem}") from problem

    return count
