"""A broker with a second door, for clients with a password over TLS who may read one topic and nothing else."""

import socket
import subprocess
from contextlib import ExitStack

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from tailrace.local import broker
from tests.certificate import make_certificate
from tests.jobs.streaming.followed import PATIENCE

PASSWORD = 'right:=#\\"'
PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
DOORS = """
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{port},SECURE://{host}:{secure},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port},SECURE://{host}:{secure}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL
listener.name.secure.sasl.enabled.mechanisms=PLAIN
listener.name.secure.plain.sasl.jaas.config={plain} user_tailrace="{password}";
listener.name.secure.ssl.keystore.type=PEM
listener.name.secure.ssl.keystore.location={keys}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"""
CLIENT = """\
security.protocol=SASL_SSL
sasl.mechanism=PLAIN
sasl.jaas.config={plain} \\
    username="tailrace" \\
    password="{password}";
ssl.truststore.type=PEM
ssl.truststore.location={certificate}
"""
# Messages carry their producers' times, however far from the broker's.
CLOCKS = {"message.timestamp.type": "CreateTime", "message.timestamp.after.max.ms": str(2**63 - 1)}


def quoted(password):
    """As a login module has it in a properties file: a quote or backslash after a backslash, each of these doubled."""
    return password.replace("\\", "\\\\").replace('"', '\\"').replace("\\", "\\\\")


def client_properties(folder, name="client", *, password=PASSWORD, certificate="broker"):
    file = folder / f"{name}.properties"
    certificate = folder / f"{certificate}.crt"
    file.write_text(CLIENT.format(plain=PLAIN, password=quoted(password), certificate=certificate))
    return file


def free_ports(count):
    with ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind((broker.HOST, 0))
        return [probe.getsockname()[1] for probe in sockets]


class Broker:
    """A broker that can be killed and started again."""

    def __init__(self, settings, folder, *, secure, controller):
        self.command = broker.prepare(settings)
        files = make_certificate(folder, "broker")
        keys = folder / "broker.pem"
        keys.write_bytes(files.key.read_bytes() + files.certificate.read_bytes())
        ports = {"port": settings.stream.broker_port, "secure": secure, "controller": controller}
        doors = DOORS.format(plain=PLAIN, password=quoted(PASSWORD), keys=keys, host=broker.HOST, **ports)
        with (settings.home / "kafka" / "server.properties").open("a") as properties:
            properties.write(doors)
        self.admin = AdminClient({"bootstrap.servers": broker.servers(settings), "log_level": 0})

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def make(self, topic, *, partitions):
        """A topic that clients at the second door may read."""
        resolve(self.admin.create_topics([NewTopic(topic, partitions, config=CLOCKS)], request_timeout=PATIENCE))
        pattern = (ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:tailrace", "*")
        rights = [
            AclBinding(*pattern, right, AclPermissionType.ALLOW) for right in (AclOperation.READ, AclOperation.DESCRIBE)
        ]
        resolve(self.admin.create_acls(rights))


def resolve(futures):
    for future in futures.values():
        future.result(PATIENCE)
