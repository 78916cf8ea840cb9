"""Where the benchmarks keep their things; used by all of them."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache" / "bench"
"""Inputs, virtual environments and what peers are built to; made again where it is missing."""
RESULTS = ROOT / "benchmarks" / "results"
PROGRAMS = ROOT / "benchmarks" / "programs"
SHARED_DATA = ROOT.parent / "shared" / "data"
"""Real histories, which are no part of the project; its tests and benchmarks read them where they are."""
