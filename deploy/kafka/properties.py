"""The local broker's configuration: one Apache Kafka in KRaft mode, broker and controller in one process, on loopback."""

from __future__ import annotations

HOST = "127.0.0.1"
NODE_ID = 1
#: The largest record batch of any topic (ingest.contract.topics), so that a topic never asks for more than its broker takes.
MESSAGE_MAX_BYTES = 4 * 1024 * 1024


def server_properties(port: int, controller_port: int, log_dir: str) -> str:
    """server.properties. `log_dir` is the absolute path of Kafka's data; both ports are on loopback only."""
    values = {
        "process.roles": "broker,controller",
        "node.id": NODE_ID,
        "controller.quorum.voters": f"{NODE_ID}@{HOST}:{controller_port}",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": _escaped(log_dir),
        "auto.create.topics.enable": "false",
        "message.max.bytes": MESSAGE_MAX_BYTES,
        "replica.fetch.max.bytes": MESSAGE_MAX_BYTES,
        # There is one node: nothing can be kept twice.
        "default.replication.factor": 1,
        "min.insync.replicas": 1,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # A few groups and producers, not thousands: fewer files, faster start.
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.num.partitions": 1,
        "group.initial.rebalance.delay.ms": 0,
        # After a kill -9 the controller, of the same process, still counts the broker as registered and refuses it until this
        # session is over: it is the larger part of the way back (the default is 9 s, asked for every 2 s).
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        # The cleaner takes this from the heap when it starts; the default of 128 MB is a quarter of ours.
        "log.cleaner.dedupe.buffer.size": 32 * 1024 * 1024,
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def log_properties(log_file: str) -> str:
    """Log4j's configuration: at most 40 MB of log, however long the broker runs."""
    values = {
        "status": "error",
        "appender.file.type": "RollingFile",
        "appender.file.name": "file",
        "appender.file.fileName": _escaped(log_file),
        "appender.file.filePattern": f"{_escaped(log_file)}.%i",
        "appender.file.layout.type": "PatternLayout",
        "appender.file.layout.pattern": "%d{ISO8601} %p %m (%c)%n",
        "appender.file.policies.type": "Policies",
        "appender.file.policies.size.type": "SizeBasedTriggeringPolicy",
        "appender.file.policies.size.size": "10MB",
        "appender.file.strategy.type": "DefaultRolloverStrategy",
        "appender.file.strategy.max": 3,
        "rootLogger.level": "info",
        "rootLogger.appenderRef.file.ref": "file",
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def jvm_flags(heap_mb: int, log_config: str) -> list[str]:
    """Java's own options: a small heap, a small collector, an end rather than an agony when memory is out."""
    return [
        f"-Xmx{heap_mb}m",
        "-Xms64m",
        "-XX:+UseSerialGC",
        # The quick compiler alone: on two cores the broker starts a second earlier and takes a third less CPU for as many records
        # (1.0-1.5 s instead of 1.6-2.1 s for 3000 frames of 100 KB); what it does is copying, not computing.
        "-XX:TieredStopAtLevel=1",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",
        "-Djava.awt.headless=true",
        # Kafka's compression libraries are native and use Unsafe; Java warns of both.
        "--enable-native-access=ALL-UNNAMED",
        "--sun-misc-unsafe-memory-access=allow",
        f"-Dlog4j2.configurationFile={log_config}",
    ]


#: What Java adds to any reason of its own.
_NO_REASON = (
    "Error: Could not create the Java Virtual Machine.",
    "Error: A fatal exception has occurred. Program will exit.",
)


def last_words(server_log: str, java_output: str) -> str:
    """The line that best says why a broker ended: the last error it logged, else the last line that Java wrote."""
    logged = [line.strip() for line in server_log.splitlines() if " ERROR " in line or " FATAL " in line]
    causes = [line.strip() for line in server_log.splitlines() if line.startswith(("java.", "org.apache.kafka.", "Caused by:"))]
    said = [line for line in java_output.splitlines() if line.strip() and not line[0].isspace() and line not in _NO_REASON]
    exceptions = [line for line in said if "rror" in line or "xception" in line]
    for lines in (causes, logged, exceptions, said):
        if lines:
            return lines[-1][:300]
    return "it said nothing"


def _escaped(path: str) -> str:
    """A path as a value of a Java properties file, where the backslash is an escape."""
    return path.replace("\\", "\\\\")
