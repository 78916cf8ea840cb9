"""What was foretold of a customer, and waits for its outcome. Pure.

Stands beside the customers; ``churn/learning.py`` makes it and takes it away, and only where the churn rule learns from
outcomes.
"""

from __future__ import annotations

import msgspec


class Prediction(msgspec.Struct, array_like=True, gc=False):
    """How likely it was that a customer would be silent, as of a time in seconds of event time. ``step`` tells the log-odds, in
    the steps of ``churn/learning.py``; ``is_buyer``: silence is about purchases. ``engaged``: the customer has not been
    silent since."""

    as_of_s: int
    step: int
    is_buyer: bool
    engaged: bool = False
