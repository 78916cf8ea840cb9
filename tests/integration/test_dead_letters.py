"""Bad records among good ones: each in the dead letters, once and soon, with its bytes; the good ones count.

One worker and one stream of records for all tests: every bad record has a good one before and after it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kafka import TopicPartition

from stream_app.clock import HOUR_MS, MINUTE_MS, now_ms, to_rfc3339
from stream_app.dev import EmbeddedBroker, EmbeddedRedis
from stream_app.ingest.decode import Reason
from tests.integration.conftest import run_program
from tests.support.comparison import to_ms
from tests.support.programs import (
    Crew, Installation, Json, LastSnapshots, TopicReader, Worker, headers_of, installation, wait_until,
)  # fmt: skip
from tests.support.traffic import Headers, Sender, customers, delivered
