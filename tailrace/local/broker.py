"""A Kafka broker of one process from its published JARs, for tests and local use."""

import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from tailrace.local.service import LocalError
from tailrace.settings import Settings, set_up_command

HOST = "127.0.0.1"
FRUGAL = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")  # a broker next to everything else on a few cores
# The moment at which the topic had a message is the broker's: producers' clocks are their own.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
log.message.timestamp.type=LogAppendTime
num.partitions=4
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.retention.hours=24
auto.create.topics.enable=true
"""


def java(settings: Settings, main: str, *arguments: str) -> tuple[str, ...]:
    """A command that runs a class of Kafka's."""
    jars = settings.stream.broker_jars
    if not jars.is_dir():
        raise LocalError(f"no JARs of Kafka in {jars}; run `{set_up_command(stream=True)}`")
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return ("java", "-Xmx512m", *FRUGAL, quiet, "-cp", f"{jars}/*", main, *arguments)


def servers(settings: Settings) -> str:
    return f"{HOST}:{settings.stream.broker_port}"


def prepare(settings: Settings) -> tuple[str, ...]:
    """Make the broker's folder ready unless it is; returns the command that runs it."""
    folder = settings.home / "kafka"
    properties, port = folder / "server.properties", settings.stream.broker_port
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "data"
    properties.write_text(PROPERTIES.format(host=HOST, port=port, controller=port + 1, data=data))
    if not (data / "meta.properties").exists():
        format_folder(settings, properties)
    return java(settings, "kafka.Kafka", str(properties))


def format_folder(settings: Settings, properties: Path) -> None:
    cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    command = java(settings, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LocalError(f"Kafka's folder cannot be made ready: {done.stdout}{done.stderr}")
