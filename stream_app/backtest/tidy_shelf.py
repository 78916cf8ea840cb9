"""A shelf that is tidied by itself: what a journal does for a worker's, without any journal. Pure.

Stands under the replay's shards and judges. A worker's shelf forgets what is too old when the journal comes round to
writing it again; here all of it is looked through whenever as many objects have been written as were kept the last
time. So memory stays within a few times of what a worker holds, and looking costs no more than writing.
"""

from __future__ import annotations

from stream_app.state.journal import Expired, sweep
from stream_app.state.shelf import Shelf
from stream_app.state.slices import SLICES

_FEWEST_WRITTEN = 2_000


class TidyShelf(Shelf):
    """A shelf whose bytes at rest lie in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._written = 0
        self._kept = _FEWEST_WRITTEN

    def tidy(self, expired: Expired) -> None:
        """Write down what has changed, and from time to time forget what has expired."""
        if not self.has_changes():
            return
        self._written += len(self.write_down())
        if self._written >= self._kept:
            kept = sum(len(sweep(self, index, expired)) for index in range(SLICES))
            self._written, self._kept = 0, max(kept, _FEWEST_WRITTEN)
