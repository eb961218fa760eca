"""A Kafka of three brokers, each a controller too, out of the local broker's jars: killed and started again one by one."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kafka.errors import KafkaError

from deploy.kafka.admin import admin_client, quiet_client
from deploy.kafka.datalock import DataLock
from deploy.kafka.jars import class_path
from deploy.kafka.java import close_quietly, java_environment, java_program, start_under_guard
from deploy.kafka.ports import HOST
from deploy.kafka.properties import jvm_flags, log_properties, server_properties
from tests.ports import free_port

HEAP_MB = 256
READY_S = 120.0
_GRACE_S = 10.0
#: What each keeps of what only a cluster can keep several times; topics without a word of their own are acknowledged by one.
_REPLICATED = {
    "default.replication.factor": 3,
    "min.insync.replicas": 1,
    "offsets.topic.replication.factor": 3,
    "transaction.state.log.replication.factor": 3,
    "transaction.state.log.min.isr": 2,
    "share.coordinator.state.topic.replication.factor": 3,
    "share.coordinator.state.topic.min.isr": 2,
}


class Node:
    """One broker: its number in the cluster, and its ports, which it keeps."""

    def __init__(self, folder: Path, number: int) -> None:
        self.number = number
        self.port, self.controller_port = free_port(), free_port()
        self._folder = folder
        self._guard: subprocess.Popen[bytes] | None = None
        self._pid = 0

    @property
    def address(self) -> str:
        """Where clients find it."""
        return f"{HOST}:{self.port}"

    @property
    def voter(self) -> str:
        """As a member of the controllers' quorum."""
        return f"{self.number}@{HOST}:{self.controller_port}"

    def prepare(self, cluster_id: str, voters: str) -> None:
        """Writes its configuration and formats its storage."""
        self._folder.mkdir(parents=True)
        self._lock = DataLock.take(self._folder, lambda _: None)
        data, log_config = self._folder / "data", self._folder / "log4j2.properties"
        log_config.write_text(log_properties(str(self._folder / "server.log")))
        own = {"node.id": self.number, "controller.quorum.voters": voters, **_REPLICATED}
        config = self._folder / "server.properties"
        lines = server_properties(self.port, self.controller_port, str(data))
        config.write_text(lines + "".join(f"{key}={value}\n" for key, value in own.items()))  # the last one of a key counts
        jars = os.pathsep.join(str(jar) for jar in class_path(lambda _: None))
        self._java = [str(java_program()), *jvm_flags(HEAP_MB, str(log_config)), "-cp", jars]
        subprocess.run(
            [*self._java, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=java_environment(),
            cwd=self._folder,
            timeout=READY_S,
            check=True,
        )
        self._command = [*self._java, "kafka.Kafka", str(config)]

    def start(self) -> None:
        """Starts it; it is not there yet."""
        assert self._guard is None
        self._guard, self._pid = start_under_guard(
            self._command, self._folder, self._folder / "java.log", _GRACE_S, self._lock.fileno()
        )

    def kill(self) -> None:
        """kill -9."""
        os.kill(self._pid, signal.SIGKILL)
        self._gone()

    def stop(self) -> None:
        """In order; for good."""
        self.tell_to_stop()
        if self._guard is not None:
            self._gone()
        self._lock.release()

    def tell_to_stop(self) -> None:
        """Lets it begin to stop."""
        if self._guard is not None:
            close_quietly(self._guard.stdin)

    def _gone(self) -> None:
        assert self._guard is not None
        self._guard.wait(_GRACE_S + 10)
        close_quietly(self._guard.stdin)
        self._guard = None


class Cluster:
    """Three of them in a folder. Clients are given the addresses of all."""

    replication = 3

    def __init__(self, folder: Path) -> None:
        self.nodes = [Node(folder / f"kafka{number}", number) for number in (1, 2, 3)]
        self.bootstrap = ",".join(node.address for node in self.nodes)

    def start(self) -> None:
        """Starts all anew, and waits until they are one cluster."""
        cluster_id = "f" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
        for node in self.nodes:
            node.prepare(cluster_id, ",".join(one.voter for one in self.nodes))
        for node in self.nodes:
            node.start()
        self.wait_for(len(self.nodes))

    def stop(self) -> None:
        """Ends all at once: one after the other, the last could not leave in order."""
        for node in self.nodes:
            node.tell_to_stop()
        for node in self.nodes:
            node.stop()

    def controller(self) -> Node:
        """The one that leads the controllers now."""
        found: list[int] = []

        def ask(client: Any) -> bool:
            found[:] = [one["leader_id"] for topic in client.describe_metadata_quorum()["topics"] for one in topic["partitions"]]
            return found[0] > 0

        self._until("there is a controller", ask)
        return next(node for node in self.nodes if node.number == found[0])

    def wait_for(self, count: int) -> None:
        """Until the controllers count so many brokers."""
        self._until(
            f"{count} brokers are there",
            lambda client: sum(not one.get("is_fenced") for one in client.describe_cluster()["brokers"]) == count,
        )

    def wait_in_sync(self) -> None:
        """Until every broker says that every replica of every partition has all of it: before that, nobody takes one away."""

        def all_in_sync(client: Any) -> bool:
            partitions = [one for topic in client.describe_topics() for one in topic["partitions"]]
            return all(sorted(one["isr_nodes"]) == sorted(one["replica_nodes"]) for one in partitions)

        for node in self.nodes:
            self._until("all replicas are in sync", all_in_sync, node.address)

    def _until(self, what: str, holds: Callable[[Any], bool], servers: str = "") -> None:
        until = time.monotonic() + READY_S
        why = "no"
        while time.monotonic() < until:
            try:
                with quiet_client(), admin_client({"bootstrap_servers": servers or self.bootstrap.split(",")}, 5.0) as client:
                    if holds(client):
                        return
            except (KafkaError, OSError) as error:
                why = repr(error)
            time.sleep(0.2)
        raise AssertionError(f"not after {READY_S:.0f} s: {what} ({why})")
