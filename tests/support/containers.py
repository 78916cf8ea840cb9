"""Apache Kafka in a container, by testcontainers, where a Docker daemon answers: ``pytest --broker containers``."""

from __future__ import annotations

from typing import Any, Self

import pytest
from docker.errors import DockerException
from docker.models.containers import Container
from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from testcontainers.core.container import DockerContainer

from stream_app.dev.servers import HOST, find_free_port
from tests.support.brokers import CLUSTER_ID, KAFKA_PROPERTIES, KAFKA_VERSION, START_SECONDS, BrokerName
from tests.support.programs import wait_until

IMAGE = f"apache/kafka:{KAFKA_VERSION}"
LISTENER_PORT, CONTROLLER_PORT = 9092, 9093


class KafkaContainer:
    """Apache Kafka in a container; its port on this machine and what it holds outlive a stop."""

    name: BrokerName = "containers"
    keeps_records = True
    compacts = True
    writes_once = True

    def __init__(self, port: int | None = None, advertised: str | None = None) -> None:
        self.port = port or find_free_port()
        self._advertised = advertised or self.address
        self._docker: DockerContainer | None = None

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def start(self) -> None:
        if self._docker is None:
            self._docker = self._create()
        else:
            self._container.start()
        wait_until(self._answers, START_SECONDS, f"{IMAGE} answers")

    def stop(self) -> None:
        self._container.kill()
        self._container.wait(timeout=START_SECONDS)

    def pause(self) -> None:
        self._container.pause()

    def resume(self) -> None:
        self._container.unpause()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *problem: Any) -> None:
        if self._docker is not None:
            self._docker.stop()

    @property
    def _container(self) -> Container:
        assert self._docker is not None, "start the broker first"
        return self._docker.get_wrapped_container()

    def _create(self) -> DockerContainer:
        own = {
            "listeners": f"PLAINTEXT://:{LISTENER_PORT},CONTROLLER://:{CONTROLLER_PORT}",
            "advertised.listeners": f"PLAINTEXT://{self._advertised}",
            "controller.quorum.voters": f"1@localhost:{CONTROLLER_PORT}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        }
        variables = {
            f"KAFKA_{key.upper().replace('.', '_')}": value
            for key, value in {**KAFKA_PROPERTIES, **own}.items()
        }
        try:
            container = DockerContainer(IMAGE).with_envs(CLUSTER_ID=CLUSTER_ID, **variables)
            # On the loopback only, which `with_bind_ports` cannot say.
            container.ports[f"{LISTENER_PORT}/tcp"] = (HOST, self.port)  # type: ignore[assignment]
            return container.start()
        except DockerException as problem:
            pytest.skip(f"no Docker daemon answers ({problem}): start one, or choose another --broker")

    def _answers(self) -> bool:
        try:
            KafkaAdminClient(bootstrap_servers=self.address, bootstrap_timeout_ms=1000).close()
        except (KafkaError, OSError):
            return False
        return True
