"""Creates the topics that are missing and checks those that are there. Never alters one.

Used by ``stream-app topics``, by every command that needs the topics, and by the worker at its
start; ``ingest/topic_specs.py`` says which topics there must be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, NamedTuple

from stream_app.failure import Failure, Unreachable
from stream_app.ingest.topic_specs import TopicSpec, topic_specs
from stream_app.ingest.topics import COUNTED_TOPICS
from stream_app.settings import ENV_PREFIX, Settings
from stream_app.sinks.connections import CONNECT_SECONDS, kafka_python_options
from stream_app.sinks.reach import require_kafka

READY_SECONDS = 10.0
_EXISTS_ALREADY = 36
_NO_IDENTITY = "00000000-0000-0000-0000-000000000000"
_MENDS = {
    29: "give this user the right to create it, or have it created",
    31: "give this user the right to create topics, or have it created",
    38: f"set {ENV_PREFIX}REPLICATION to at most the number of brokers",
    44: "ask those who run the cluster which policy it breaks",
}


class TopicState(NamedTuple):
    """A topic as it was found. ``identity`` is Kafka's own id of it, empty where the broker gives none."""

    identity: str
    partitions: int


class TopicViewer:
    """Looks at the counted topics again and again, by one client that it keeps for as long as Kafka answers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._names = {settings.topic(name): name for name in COUNTED_TOPICS}
        self._admin: Any = None
        self._lock = Lock()  # nobody can wait for a thread whose task was cancelled

    def look(self) -> dict[str, TopicState]:
        """The counted topics that are there, by name without the prefix. Call it from any thread.

        Raises:
            Unreachable: Kafka gives no answer.
            SettingsError, OSError: a certificate cannot be read, or the connection broke.
        """
        with self._lock:
            if self._admin is None:
                self._admin = _connected(self._settings)
            try:
                with _answers(self._settings):
                    described = self._admin.describe_topics()
            except BaseException:
                self._admin.close()
                self._admin = None
                raise
        return {
            self._names[topic["name"]]: TopicState(
                str(topic.get("topic_id") or "").replace(_NO_IDENTITY, ""), len(topic["partitions"])
            )
            for topic in described
            if topic["error_code"] == 0 and topic["name"] in self._names
        }


def ensure_topics(settings: Settings, specs: Sequence[TopicSpec] | None = None) -> tuple[str, ...]:
    """Create the topics that are missing, all of them by default; returns their names.

    Raises:
        Unreachable: Kafka gives no answer.
        Failure: a topic has the wrong number of partitions (then nothing is created), or the broker refuses.
    """
    wanted = topic_specs(settings) if specs is None else tuple(specs)
    with _admin(settings) as admin:
        found = _partition_counts(admin)
        _refuse_wrong(wanted, found, settings)
        missing = [spec for spec in wanted if spec.name not in found]
        if missing:
            _create(admin, missing, settings)
            # Somebody else may have created one at the same moment, and differently.
            _refuse_wrong(wanted, _partition_counts(admin), settings)
    return tuple(spec.name for spec in missing)


def check_topics(settings: Settings, specs: Sequence[TopicSpec] | None = None) -> None:
    """Return when all topics, or those of ``specs``, are there as they must be.

    Raises:
        Unreachable: Kafka gives no answer.
        Failure: topics are missing or have the wrong number of partitions; one line for each, with the mend.
    """
    wanted = topic_specs(settings) if specs is None else tuple(specs)
    with _admin(settings) as admin:
        found = _partition_counts(admin)
    lines = _wrong_counts(wanted, found, settings)
    missing = [spec.name for spec in wanted if spec.name not in found]
    if missing:
        lines.append(f"{_listed(missing)}: missing; run `stream-app topics create`")
    if lines:
        raise Failure("\n".join(lines))


@contextmanager
def _admin(settings: Settings) -> Iterator[Any]:
    admin = _connected(settings)
    try:
        with _answers(settings):
            yield admin
    finally:
        admin.close()


def _connected(settings: Settings) -> Any:
    require_kafka(settings)
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    timeout_ms = int(CONNECT_SECONDS * 1000)
    try:
        return KafkaAdminClient(
            **kafka_python_options(settings), bootstrap_timeout_ms=timeout_ms, request_timeout_ms=timeout_ms
        )
    except KafkaError as problem:
        raise Unreachable(f"Kafka at {settings.kafka}: {problem}; check {ENV_PREFIX}KAFKA") from None


@contextmanager
def _answers(settings: Settings) -> Iterator[None]:
    from kafka.errors import KafkaError

    try:
        yield
    except KafkaError as problem:
        raise Unreachable(
            f"Kafka at {settings.kafka} did not do as asked ({type(problem).__name__}: {problem}); "
            "`stream-app doctor` says more"
        ) from None


def _partition_counts(admin: Any) -> dict[str, int]:
    # All topics, not ours by name: asking for a missing one by name makes some brokers create it.
    described = admin.describe_topics()
    return {topic["name"]: len(topic["partitions"]) for topic in described if topic["error_code"] == 0}


def _refuse_wrong(wanted: Sequence[TopicSpec], found: dict[str, int], settings: Settings) -> None:
    lines = _wrong_counts(wanted, found, settings)
    if lines:
        raise Failure("\n".join(lines))


def _wrong_counts(wanted: Sequence[TopicSpec], found: dict[str, int], settings: Settings) -> list[str]:
    """One line for each number of partitions that is not the right one."""
    wrong: dict[int, list[str]] = {}
    for spec in wanted:
        count = found.get(spec.name, spec.partitions)
        if spec.exact and count != spec.partitions:
            wrong.setdefault(count, []).append(spec.name)
    return [
        f"{_listed(names)}: {count} {'partition' if count == 1 else 'partitions'} instead of "
        f"{settings.partitions}; set {ENV_PREFIX}PARTITIONS={count} if that is right for all input topics, "
        "or delete what is wrong and run `stream-app topics create`"
        for count, names in sorted(wrong.items())
    ]


def _create(admin: Any, missing: Sequence[TopicSpec], settings: Settings) -> None:
    request = {
        spec.name: {
            "num_partitions": spec.partitions,
            "replication_factor": settings.replication,
            "configs": spec.configs,
        }
        for spec in missing
    }
    answer = admin.create_topics(request, raise_errors=False)
    refused = [topic for topic in answer["topics"] if topic["error_code"] not in (0, _EXISTS_ALREADY)]
    if refused:
        raise Failure("\n".join(_refusal(topic) for topic in refused))
    admin.wait_for_topics([spec.name for spec in missing], timeout_ms=int(READY_SECONDS * 1000))


def _refusal(topic: dict[str, Any]) -> str:
    from kafka.errors import for_code

    code = topic["error_code"]
    words = topic.get("error_message") or for_code(code).__name__
    mend = _MENDS.get(code, "see the broker's log")
    return f"{topic['name']}: the broker does not create it ({str(words).rstrip('.')}); {mend}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
