"""Who takes part: our worker, Faust as it is taught, the peers, and the limits that reading alone sets."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.checks import Check, PaneCheck, ReadCheck, TotalsCheck
from benchmarks.environment import bench_python
from benchmarks.stage import Input, Stage
from benchmarks.truth import panes_of, totals_of

Kind = Literal["ours", "peer", "limit"]


def _nothing() -> None:
    """There is nothing to prepare."""


@dataclass(frozen=True)
class Contestant:
    """A program, how it is started, and which input it gets."""

    name: str
    title: str
    kind: Kind
    command: Callable[[], Sequence[str]]
    prepare: Callable[[], object] = _nothing
    processes: int = 1
    input: Literal["full", "email", "small"] = "full"

    def check(self, stage: Stage, given: Input, group: str) -> Check:
        """How its result is judged."""
        if self.kind == "ours":
            return TotalsCheck(stage.settings(given).redis_prefix, totals_of(given.recipe, given.topics))
        if self.kind == "limit":
            return ReadCheck(group, stage.records[given.name])
        return PaneCheck(group, panes_of(given.recipe))

    def variables(self, stage: Stage, given: Input, group: str, state: str) -> dict[str, str]:
        """The environment in which it finds its servers: ours has settings of its own, otherwise the defaults."""
        if self.kind == "ours":
            return {
                "STREAM_APP_KAFKA": stage.address,
                "STREAM_APP_REDIS": stage.redis.url,
                "STREAM_APP_PREFIX": given.prefix,
                "STREAM_APP_DATA_DIR": state,
            }
        return {
            "BENCH_KAFKA": stage.address,
            "BENCH_REDIS": stage.redis.url,
            "BENCH_PREFIX": given.prefix,
            "BENCH_GROUP": group,
            "BENCH_STATE": state,
        }


def _worker() -> Sequence[str]:
    return sys.executable, "-m", "stream_app", "worker"


def _module(name: str, *arguments: str) -> Callable[[], Sequence[str]]:
    return lambda: (sys.executable, "-m", f"benchmarks.programs.{name}", *arguments)


OURS = Contestant("ours", "ours: one worker, everything on", "ours", _worker)
GETMANY = Contestant("getmany", "limit: aiokafka `getmany` and msgspec", "limit", _module("getmany_limit"))
OWN: tuple[Contestant, ...] = (
    OURS,
    Contestant("ours-2", "ours: two workers", "ours", _worker, processes=2),
    Contestant("ours-email", "ours: one worker, e-mail only", "ours", _worker, input="email"),
    GETMANY,
    Contestant(
        "librdkafka",
        "limit: librdkafka and msgspec",
        "limit",
        lambda: (str(bench_python()), "-m", "benchmarks.programs.librdkafka_limit"),
        bench_python,
    ),
    Contestant(
        "faust",
        "Faust as its documentation teaches it",
        "peer",
        _module("faust_as_taught", "worker", "--without-web", "--loglevel", "warn"),
        input="small",
    ),
)


def everybody() -> tuple[Contestant, ...]:
    """All contestants, in the order of the table."""
    from benchmarks.peers.catalogue import PEERS

    peers = tuple(Contestant(peer.name, peer.name, "peer", peer.command, peer.prepare) for peer in PEERS)
    return OWN + peers
