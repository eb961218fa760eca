"""Shell: writes jars.lock anew: `python -m deploy.kafka.relock`, after the versions below were changed.

The sums are those of what the registry gives now, so a look at the difference belongs before its commit.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from deploy.kafka.jars import LOCK, maven_context
from deploy.kafka.lock import LockedJar, write_lock

KAFKA = "org.apache.kafka:kafka_2.13:4.1.0"
#: So that the broker logs. `!`: its managed versions must not overrule those that Kafka was built with.
LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3!"


def relock() -> list[LockedJar]:
    """Resolves Kafka and what it needs, downloads all of it afresh, and returns it with its sums."""
    from jgo.parse import Endpoint

    with tempfile.TemporaryDirectory() as folder:
        context = maven_context(Path(folder))
        coordinates = Endpoint.parse(f"{KAFKA}+{LOGGING}").coordinates
        inputs, transitive = context.resolver.resolve([context.create_dependency(one) for one in coordinates])
        jars = []
        for dependency in [*inputs, *transitive]:
            artifact = dependency.artifact
            if dependency.scope in ("compile", "runtime", None):
                if artifact.classifier or artifact.packaging != "jar":
                    raise SystemExit(f"{artifact} is no plain jar: the lock has no place for it")
                digest = hashlib.sha256(artifact.resolve().read_bytes()).hexdigest()
                jars.append(LockedJar(artifact.groupId, artifact.artifactId, artifact.version, digest))
    return jars


if __name__ == "__main__":
    found = relock()
    LOCK.write_text(write_lock(found))
    print(f"{len(found)} jars locked in {LOCK.name}")
