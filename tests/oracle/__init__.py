"""The batch oracle: every count of METRICS.md, computed the slow and obvious way over all events at once.

It shares no code with the engine on purpose; the tests compare the engine's numbers with these.
"""

from tests.oracle.batch import compute
from tests.oracle.events import END_OF_TIME, Record, Settings, time_ms
from tests.oracle.windows import PANE_MS, Contribution, Counts, Key, Rate, Result, rates

__all__ = [
    "END_OF_TIME",
    "PANE_MS",
    "Contribution",
    "Counts",
    "Key",
    "Rate",
    "Record",
    "Result",
    "Settings",
    "compute",
    "rates",
    "time_ms",
]
