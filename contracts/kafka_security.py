"""How services reach Kafka: the settings that control plane and launcher share, and what they mean to librdkafka."""

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from contracts.trust import CaBundle, trusted_pem

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

_SASL_FIELDS = ("kafka_sasl_mechanism", "kafka_sasl_username", "kafka_sasl_password")


class KafkaSecurity(BaseSettings):
    """Encryption and identity towards Kafka. None of it set means a broker in plain text."""

    model_config = SettingsConfigDict(env_prefix="STRATUM_", frozen=True)

    kafka_security_protocol: Protocol = "PLAINTEXT"
    kafka_sasl_mechanism: Mechanism | None = None
    kafka_sasl_username: str | None = Field(default=None, min_length=1)
    kafka_sasl_password: SecretStr | None = Field(default=None, min_length=1)
    ca_bundle: CaBundle | None = Field(default=None, description="Trusted beside the public authorities, by Kafka's client and all others.")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        given = [f"STRATUM_{name.upper()}" for name in _SASL_FIELDS if getattr(self, name) is not None]
        missing = [f"STRATUM_{name.upper()}" for name in _SASL_FIELDS if getattr(self, name) is None]
        with_sasl = self.kafka_security_protocol.startswith("SASL_")
        if with_sasl and missing:
            raise ValueError(f"STRATUM_KAFKA_SECURITY_PROTOCOL={self.kafka_security_protocol} needs {', '.join(missing)}")
        if given and not with_sasl:
            protocol = self.kafka_security_protocol
            raise ValueError(
                f"STRATUM_KAFKA_SECURITY_PROTOCOL={protocol} makes no use of {', '.join(given)}; set SASL_SSL or SASL_PLAINTEXT"
            )
        return self

    @property
    def kafka_client_config(self) -> dict[str, str]:
        """The settings of a confluent-kafka client."""
        config: dict[str, str] = {"security.protocol": self.kafka_security_protocol}
        if self.kafka_security_protocol.endswith("SSL"):
            # small images hold no authorities where librdkafka would look for them
            config["ssl.ca.pem"] = trusted_pem(self.ca_bundle)
        if self.kafka_sasl_mechanism and self.kafka_sasl_username and self.kafka_sasl_password:
            config |= {
                "sasl.mechanism": self.kafka_sasl_mechanism,
                "sasl.username": self.kafka_sasl_username,
                "sasl.password": self.kafka_sasl_password.get_secret_value(),
            }
        return config
