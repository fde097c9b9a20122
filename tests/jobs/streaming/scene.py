"""A home that is up with a stream: store, broker, stream and reader as `tailrace up` starts them, Airflow apart.

The stream and bronze come to the broker with a password over TLS, and may read one topic and nothing else. The tests
themselves come by a second door without either.
"""

import os
import shutil
import socket
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)
from pyspark.sql import functions as F

from bench.followed import free_port
from jobs.bronze import load
from jobs.bronze.topic import topic_of
from jobs.streaming.heartbeat import read_heartbeat
from tailrace import shipped
from tailrace.lake.tables import Lake
from tailrace.local import airflow, background, stack, streaming
from tailrace.schemas import bronze
from tailrace.settings import read_settings
from tailrace.store import embedded
from tailrace.store.address import Address
from tailrace.workspace.resources import settings_of_home
from tests import feeds
from tests.certificate import make_certificate
from tests.conftest import SPARK
from tests.jobs.streaming.followed import PATIENCE, recent_events, until

VIEWS = ("actor_document_recent", "document_recent")
PASSWORD = 'right:=#\\"'
PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
DOORS = """
listeners=SECURE://{host}:{port},PLAINTEXT://{host}:{plain},CONTROLLER://{host}:{controller}
advertised.listeners=SECURE://{host}:{port},PLAINTEXT://{host}:{plain}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL
listener.name.secure.sasl.enabled.mechanisms=PLAIN
listener.name.secure.plain.sasl.jaas.config={login} user_tailrace="{password}";
listener.name.secure.ssl.keystore.type=PEM
listener.name.secure.ssl.keystore.location={keys}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"""
CLIENT = """\
security.protocol=SASL_SSL
sasl.mechanism=PLAIN
sasl.jaas.config={login} \\
    username="tailrace" \\
    password="{password}";
ssl.truststore.type=PEM
ssl.truststore.location={certificate}
"""
# Messages carry their producers' times, however far from the broker's.
CLOCKS = {"message.timestamp.type": "CreateTime", "message.timestamp.after.max.ms": str(2**63 - 1)}


class Scene:
    """One home, whose services are started and ended here; the environment is that of its commands."""

    def __init__(self, folder, monkeypatch, spark):
        self.folder, self.spark = folder, spark
        for view in VIEWS:
            shutil.copy(Path(shipped.__file__).with_name(f"{view}.py"), folder)
        (plain,) = free_ports(1)
        variables = SPARK | {
            "TAILRACE_FEATURES": str(folder),
            "TAILRACE_HOME": str(folder / "home"),
            "TAILRACE_KAFKA_PORT": str(free_port()),
            "TAILRACE_KAFKA_PROPERTIES": str(client_properties(folder)),
            "TAILRACE_READER_PORT": str(free_port()),
        }
        monkeypatch.delenv("TAILRACE_KAFKA", raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(airflow, "airflow_services", lambda *_: [])
        self.home = read_settings()
        self.address = Address.of(self.home)
        self.servers = f"{streaming.BROKER_HOST}:{plain}"
        self._broker = broker_with_doors(self.home, folder, plain=plain)
        monkeypatch.setattr(streaming, "service_of_broker", lambda _: self._broker)
        self.admin = AdminClient({"bootstrap.servers": self.servers, "log_level": 0})

    def start_broker(self):
        """Start the broker, with a topic that its client may read."""
        background.start_service(self._broker)
        topic = self.home.stream.topic
        new = NewTopic(topic, num_partitions=4, config=CLOCKS)
        resolve(self.admin.create_topics([new], request_timeout=PATIENCE))
        pattern = (ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:tailrace", "*")
        rights = [
            AclBinding(*pattern, right, AclPermissionType.ALLOW) for right in (AclOperation.READ, AclOperation.DESCRIBE)
        ]
        resolve(self.admin.create_acls(rights))

    def up(self):
        """Start what does not run; the processes by name."""
        found = stack.up(self.home, lambda _: None, with_stream=True)
        assert {one.state for one in found.values()} == {"healthy"}
        return {name: one.pid for name, one in found.items()}

    def start_without_stream(self):
        """Start the broker and the store again, whose home knows its topic."""
        streaming.turn_on(self.home)
        background.start_service(self._broker)
        embedded.start(self.home)
        until(lambda: streaming.accepts(self.home.stream.broker_port))

    def kill(self, name):
        """Kill the broker or the stream."""
        killed = background.find({"broker": self._broker, "stream": streaming.service_of_stream(self.settings)}[name])
        assert killed
        killed.kill()
        killed.wait()

    @property
    def settings(self):
        """Those of a command of the home, which knows the topic that is followed."""
        return settings_of_home()

    @property
    def topic(self):
        topic = topic_of(self.settings.stream, feeds.DEFINITIONS.streamed_source)
        assert topic
        return topic

    @property
    def logs(self):
        """All that the stream's processes have written."""
        log = streaming.service_of_stream(self.settings).log
        return b"".join(file.read_bytes() for file in log.parent.glob("stream.log*"))

    @property
    def heartbeat(self):
        heartbeat = read_heartbeat(self.home.home)
        assert heartbeat
        return heartbeat

    def producer(self, **options):
        return Producer({"bootstrap.servers": self.servers, "enable.idempotence": True, "log_level": 0} | options)

    def produce(self, *messages, **where):
        producer = self.producer()
        for message in messages:
            producer.produce(self.home.stream.topic, message, **where)
        assert producer.flush(PATIENCE) == 0

    def wait_for(self, document, count):
        until(lambda: recent_events(self.address, document) >= count)
        assert recent_events(self.address, document) == count

    def add_partitions(self, count):
        resolve(self.admin.create_partitions([NewPartitions(self.topic.name, count)]))

    def remove(self, partition, *, before):
        """Have Kafka remove the messages of a partition, as it does when they are old."""
        resolve(self.admin.delete_records([TopicPartition(self.topic.name, partition, before)]))

    @property
    def lake(self):
        return Lake(self.spark, self.home.lake)

    def load(self):
        return load.run(self.lake, feeds.intake(self.home.landing, self.topic), now=datetime.now(UTC))

    def quarantined(self):
        rows = self.lake.read(bronze.QUARANTINE).select("file", "line", "reason").collect()
        return {(row.file.removeprefix("kafka:events/"), row.line, row.reason) for row in rows}

    def loaded(self, document):
        """How many events of a document are in bronze, by file."""
        events = self.lake.read(feeds.BRONZE_EVENTS).where(F.col("document_id") == document)
        return {row.file: row["count"] for row in events.groupBy("file").count().collect()}


def broker_with_doors(settings, folder, *, plain):
    """The home's broker, which asks for a password over TLS on its port and has a second door for the tests."""
    command = streaming.prepare_broker(settings)
    files = make_certificate(folder, "broker")
    keys = folder / "broker.pem"
    keys.write_bytes(files.key.read_bytes() + files.certificate.read_bytes())
    port = settings.stream.broker_port
    ports = {"port": port, "plain": plain, "controller": port + 1}
    doors = DOORS.format(login=PLAIN, password=quoted(PASSWORD), keys=keys, host=streaming.BROKER_HOST, **ports)
    with Path(command[-1]).open("a") as properties:
        properties.write(doors)
    return background.Service(
        name=streaming.BROKER,
        command=command,
        environment=os.environ,
        folder=settings.run_folder,
        stop_seconds=streaming.STOP_SECONDS,
    )


def quoted(password):
    """As a login module has it in a properties file: a quote or backslash after a backslash, each of these doubled."""
    return password.replace("\\", "\\\\").replace('"', '\\"').replace("\\", "\\\\")


def client_properties(folder, name="client", *, password=PASSWORD, certificate="broker"):
    file = folder / f"{name}.properties"
    certificate = folder / f"{certificate}.crt"
    file.write_text(CLIENT.format(login=PLAIN, password=quoted(password), certificate=certificate))
    return file


def free_ports(count):
    with ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind((streaming.BROKER_HOST, 0))
        return [probe.getsockname()[1] for probe in sockets]


def resolve(futures):
    for future in futures.values():
        future.result(PATIENCE)
