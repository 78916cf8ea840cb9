"""Where the benchmarks keep their things; used by all of them."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache" / "bench"
"""Inputs, virtual environments and what peers are built to; made again where it is missing."""
RESULTS = ROOT / "benchmarks" / "results"
PROGRAMS = ROOT / "benchmarks" / "programs"
