"""The purchases of CDNOW as events: each line of the file becomes one ``cart.purchased`` at noon of its day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import orjson

from stream_app.backtest.arrivals import Arrival
from stream_app.clock import HOUR_MS, from_datetime


def purchases(path: Path) -> Iterator[Arrival]:
    """All purchases, in order of their days (source of the file: Fader and Hardie; the header line is left out)."""
    lines = path.read_text("ascii").splitlines()[1:]
    rows = [line.split() for line in lines if line.strip()]
    for number, (customer, day, _, dollars) in sorted(enumerate(rows), key=lambda row: (row[1][1], row[0])):
        time_ms = from_datetime(datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC)) + 12 * HOUR_MS
        event = {
            "event_id": f"purchase-{number}",
            "event_type": "cart.purchased",
            "event_time": time_ms,
            "customer_id": customer,
            "cart_id": f"cart-{number}",
            "value": float(dollars),
            "currency": "USD",
        }
        yield Arrival("carts", customer.encode(), orjson.dumps(event), time_ms)
