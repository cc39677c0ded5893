"""One Kafka broker that is its own controller (KRaft)."""

from __future__ import annotations

import base64
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from stratum.local.errors import ServiceFailed
from stratum.local.java import Java
from stratum.local.ports import HOST
from stratum.local.program import Program
from stratum.local.supervisor import NotReady

HEAP = "320m"
METADATA_SECONDS = 3.0


@dataclass(frozen=True)
class Kafka:
    """One broker.

    Attributes:
        folder: its configuration and data.
        port, controller_port: where it listens, on this machine only.
        cluster_id: Kafka's own form of a UUID.
        java, jars: what it runs on, and the folder of its jars.
    """

    folder: Path
    port: int
    controller_port: int
    cluster_id: str
    java: Java
    jars: Path

    @property
    def bootstrap(self) -> str:
        """For clients: `host:port`."""
        return f"{HOST}:{self.port}"

    def prepare(self) -> None:
        """Write the configuration; format the storage unless that was done.

        Raises:
            ServiceFailed: formatting failed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._properties.write_text(self._configuration())
        self._logging.write_text(_LOGGING)
        if (self._data / "meta.properties").exists():
            return
        arguments = ["kafka.tools.StorageTool", "format", "--standalone", "--ignore-formatted"]
        arguments += ["--cluster-id", self.cluster_id, "--config", str(self._properties)]
        done = subprocess.run([*self._java("64m"), *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServiceFailed(
                f"Kafka's storage could not be formatted: {(done.stdout + done.stderr).strip()[-2000:]}\n",
                "Mend what it names and try again.",
            )

    def program(self) -> Program:
        """The broker in the foreground."""
        return Program(
            name="kafka",
            argv=(*self._java(HEAP), "kafka.Kafka", str(self._properties)),
            environment={"JAVA_HOME": str(self.java.home)},
            folder=self.folder,
            stop_seconds=20,
        )

    def check(self) -> None:
        """Ask for the cluster's metadata, as a client would.

        Raises:
            NotReady: it was not answered, or no broker takes part yet.
        """
        client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "socket.timeout.ms": int(METADATA_SECONDS * 1000)})
        try:
            brokers = client.list_topics(timeout=METADATA_SECONDS).brokers
        except KafkaException as error:
            raise NotReady(f"it does not answer a metadata request: {error}") from error
        if not brokers:
            raise NotReady("no broker has joined its cluster yet")

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    @property
    def _logging(self) -> Path:
        return self.folder / "log4j2.properties"

    def _java(self, heap: str) -> list[str]:
        options = [f"-Xmx{heap}", "-Xms64m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-XX:MaxMetaspaceSize=160m"]
        # Only the quick compiler: half of the processor time until it serves, and a fifth less memory.
        options += ["-XX:TieredStopAtLevel=1"]
        options += ["-Djava.awt.headless=true", f"-Dlog4j2.configurationFile={self._logging}"]
        return [str(self.java.binary), *options, "-cp", f"{self.jars}/*"]

    def _configuration(self) -> str:
        values = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": f"{HOST}:{self.controller_port}",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{HOST}:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{HOST}:{self.controller_port}",
            "log.dirs": self._data,
            # A misspelt topic is an error, not a new topic.
            "auto.create.topics.enable": "false",
            "num.partitions": 1,
            "default.replication.factor": 1,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 4,
            "group.initial.rebalance.delay.ms": 0,
            "log.retention.hours": 168,
            "log.retention.bytes": 1 << 30,
            "log.segment.bytes": 64 << 20,
            "metadata.log.max.record.bytes.between.snapshots": 20 << 20,
            # Sizes for one machine: the defaults would take half of the heap.
            "log.cleaner.dedupe.buffer.size": 16 << 20,
            "num.network.threads": 2,
            "num.io.threads": 4,
            "background.threads": 4,
            # A killed broker is known to be gone soon, so its next life is let in soon.
            "broker.heartbeat.interval.ms": 500,
            "broker.session.timeout.ms": 3000,
            # Records that only tell other controllers that this one lives: there are no others, and they keep an idle machine busy.
            "metadata.max.idle.interval.ms": 0,
        }
        return "".join(f"{key}={value}\n" for key, value in values.items())


def new_cluster_id() -> str:
    """A random cluster id in Kafka's form: 16 bytes, URL-safe base64, not beginning with a dash."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()).startswith("-"):
        pass
    return text


_LOGGING = """\
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %-5p %c{1} %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
logger.config.name = org.apache.kafka.common.config.AbstractConfig
logger.config.level = warn
"""
