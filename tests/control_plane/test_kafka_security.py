"""Kafka behind TLS and passwords."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from control_plane.broker import BrokerUnavailable, Outgoing, Publisher, Subscriber, check_broker, create_topics
from control_plane.settings import KafkaSettings, TopicSettings
from stratum.local.ports import choose_port
from tests.control_plane.commands import run
from tests.control_plane.installation import Installation
from tests.control_plane.servers import Kafka
from tests.control_plane.waiting import eventually

_LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"


def _certificate(name: str, key: EllipticCurvePrivateKey, issuer: x509.Certificate | None, issuer_key: EllipticCurvePrivateKey) -> Any:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(address, critical=False)
    )
    return built.sign(issuer_key, SHA256())


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A broker that also listens with TLS and a password: the settings that reach it."""
    folder = tmp_path_factory.mktemp("secured")
    server = Kafka(folder)
    authority_key, key = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
    authority = _certificate("private authority", authority_key, None, authority_key)
    chain = _certificate("broker", key, authority, authority_key)
    (folder / "ca.pem").write_bytes(authority.public_bytes(Encoding.PEM))
    keystore = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + chain.public_bytes(Encoding.PEM)
    (folder / "broker.pem").write_bytes(keystore)
    service = server.service
    port = choose_port({service.port, service.controller_port})
    places = [f"PLAINTEXT://{service.bootstrap}", f"SASL_SSL://127.0.0.1:{port}"]
    with (folder / "server.properties").open("a") as file:
        file.write(
            f"listeners={','.join(places)},CONTROLLER://127.0.0.1:{service.controller_port}\n"
            f"advertised.listeners={','.join(places)},CONTROLLER://127.0.0.1:{service.controller_port}\n"
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL\n"
            "inter.broker.listener.name=PLAINTEXT\n"
            "sasl.enabled.mechanisms=PLAIN\n"
            f'listener.name.sasl_ssl.plain.sasl.jaas.config={_LOGIN} user_stratum="right";\n'
            f"ssl.keystore.type=PEM\nssl.keystore.location={folder / 'broker.pem'}\n"
        )
    with server.running():
        yield {
            "kafka_bootstrap": f"127.0.0.1:{port}",
            "kafka_security_protocol": "SASL_SSL",
            "kafka_sasl_mechanism": "PLAIN",
            "kafka_sasl_username": "stratum",
            "kafka_sasl_password": "right",
            "ca_bundle": folder / "ca.pem",
        }


async def test_topics_and_messages_go_through_tls_with_a_password(secured: dict[str, Any]) -> None:
    settings = TopicSettings(**secured, topic_partitions=1, topic_min_insync_replicas=1)
    check_broker(settings)
    assert set(create_topics(settings, settings.topics)) == set(settings.topics.all)
    assert await Publisher(settings, "test").publish([Outgoing(7, settings.topics.events, "k", b"v", {})]) == [7]
    subscriber = Subscriber(settings, settings.topics.events, "test")
    messages = await eventually(lambda: subscriber.batch(1, 0.2), what="the message")
    assert messages[0].value() == b"v"
    await subscriber.close()


@pytest.mark.parametrize("change", [{"kafka_sasl_password": "wrong"}, {"ca_bundle": None}, {"kafka_security_protocol": "SASL_PLAINTEXT"}])
def test_whoever_has_not_all_of_it_stays_outside(secured: dict[str, Any], change: dict[str, Any]) -> None:
    with pytest.raises(BrokerUnavailable):
        check_broker(KafkaSettings(**{**secured, **change}), seconds=3)


SASL = {"kafka_sasl_mechanism": "PLAIN", "kafka_sasl_username": "u", "kafka_sasl_password": "p"}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"kafka_security_protocol": "SASL_SSL"},
            "needs STRATUM_KAFKA_SASL_MECHANISM, STRATUM_KAFKA_SASL_USERNAME, STRATUM_KAFKA_SASL_PASSWORD",
        ),
        ({**SASL, "kafka_security_protocol": "SASL_PLAINTEXT", "kafka_sasl_password": None}, "needs STRATUM_KAFKA_SASL_PASSWORD"),
        ({"kafka_sasl_username": "u"}, "PLAINTEXT makes no use of STRATUM_KAFKA_SASL_USERNAME"),
        ({**SASL, "kafka_security_protocol": "SSL"}, "SSL makes no use of STRATUM_KAFKA_SASL_MECHANISM"),
        ({"kafka_security_protocol": "TLS"}, "kafka_security_protocol"),
        ({**SASL, "kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "GSSAPI"}, "kafka_sasl_mechanism"),
        ({"ca_bundle": "/nowhere/ca.pem"}, "ca_bundle"),
        ({"ca_bundle": Path(__file__)}, "holds no certificates"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused_by_name(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        KafkaSettings(kafka_bootstrap="broker:9092", **settings)


async def test_a_role_names_them_too(still: Installation) -> None:
    code, output = await run(still, "topics", STRATUM_KAFKA_SECURITY_PROTOCOL="SASL_SSL")
    assert (code, "Traceback" in output) == (2, False), output
    assert "STRATUM_KAFKA_SECURITY_PROTOCOL=SASL_SSL needs STRATUM_KAFKA_SASL_MECHANISM" in output
