"""Settings of the control plane, from the environment. A missing or wrong one stops the service with its name."""

from typing import Annotated

from pydantic import Field, SecretStr, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

from contracts.catalog import DEFAULT_FOLDER, DEFAULT_IMAGE, CatalogFolders
from contracts.images import ImageSettings
from contracts.kafka_security import KafkaSecurity
from contracts.model import HttpAddress
from contracts.proposal import MOST_DATASET_FILES
from contracts.reading import DOCUMENT
from contracts.topics import Topics
from contracts.trust import CaBundle
from control_plane.oidc_settings import OidcSettings
from control_plane.sweeper.settings import SweepSettings
from control_plane.webhooks.targets import HTTPS_ONLY, AllowedTargets, AllowList, Ports, TargetRules

PostgresUrl = Annotated[str, StringConstraints(pattern=r"^postgresql://")]


class DatabaseSettings(BaseSettings):
    """Where the database is."""

    model_config = SettingsConfigDict(env_prefix="STRATUM_", frozen=True)

    database_url: PostgresUrl
    database_pool_size: Annotated[int, Field(ge=1)] = 10
    database_statement_seconds: Annotated[float, Field(gt=0)] = 15
    database_wait_seconds: Annotated[float, Field(gt=0, description="For a connection of the pool.")] = 3
    database_max_waiting: Annotated[int, Field(ge=0, description="Who may wait for one at once; more are refused.")] = 100


class KafkaSettings(KafkaSecurity):
    """Where the broker is."""

    kafka_bootstrap: str
    topic_prefix: str = "stratum"

    @property
    def topics(self) -> Topics:
        """Names of the topics."""
        return Topics(self.topic_prefix)


class TopicSettings(KafkaSettings):
    """How missing topics are made. What is there already is left as it is."""

    topic_partitions: Annotated[int, Field(ge=1)] = 6
    topic_replication: Annotated[int, Field(ge=1)] = 1
    topic_min_insync_replicas: Annotated[int, Field(ge=1)] | None = Field(default=None, description="The broker's own if not set.")
    # a message that waits must outlive the longest wait of its process
    topic_retention_hours: Annotated[int, Field(ge=24)] = 14 * 24


class StorageSettings(BaseSettings):
    """Where the object store is."""

    model_config = SettingsConfigDict(env_prefix="STRATUM_", frozen=True)

    s3_endpoint: str
    s3_public_endpoint: str | None = Field(default=None, description="As clients reach it; for presigned URLs.")
    s3_region: str = "us-east-1"
    s3_access_key: str
    s3_secret_key: SecretStr
    presigned_seconds: Annotated[int, Field(ge=60, le=604_800)] = 900
    upload_seconds: Annotated[int, Field(ge=60, le=604_800)] = 3600
    ca_bundle: CaBundle | None = None


class TokenSettings(BaseSettings):
    """Signing keys, and how runs reach us."""

    model_config = SettingsConfigDict(env_prefix="STRATUM_", frozen=True)

    signing_key_file: str = Field(description="PEM files of Ed25519 private keys, joined by ':'. The first one signs, all verify.")
    callback_base_url: HttpAddress = Field(description="As a command may name it: one that none can would fail them all.")

    @property
    def callback_url(self) -> str:
        """Where runs report."""
        return f"{str(self.callback_base_url).rstrip('/')}/v1/processes/callback"


class TimingSettings(BaseSettings):
    """How often things are looked at, and how long they are trusted. Seconds."""

    model_config = SettingsConfigDict(env_prefix="STRATUM_", frozen=True)

    heartbeat_seconds: Annotated[float, Field(gt=0)] = 5
    lease_seconds: Annotated[float, Field(gt=0)] = 30
    run_token_seconds: Annotated[int, Field(ge=60)] = 900
    poll_seconds: Annotated[float, Field(gt=0)] = 0.1
    sweep_seconds: Annotated[float, Field(gt=0)] = 300
    sweep_grace_seconds: Annotated[float, Field(ge=0)] = 86_400
    retry_delay_seconds: Annotated[float, Field(ge=0)] = 2
    seal_limit_seconds: Annotated[float, Field(gt=0)] = 3600


class WatchSettings(BaseSettings):
    """How a role without an API is watched."""

    model_config = SettingsConfigDict(env_prefix="STRATUM_", frozen=True)

    metrics_port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    stuck_seconds: Annotated[float, Field(ge=60)] = 300


class WebhookTargetSettings(BaseSettings):
    """Where deliveries to callback URLs may go beyond the public internet's https."""

    model_config = SettingsConfigDict(env_prefix="STRATUM_", frozen=True)

    webhook_allow: AllowedTargets = AllowList()
    webhook_ports: Ports = HTTPS_ONLY

    @property
    def target_rules(self) -> TargetRules:
        """The rules, as the API and the role `webhooks` apply them."""
        return TargetRules(self.webhook_allow, self.webhook_ports)


class ApiLimits(BaseSettings):
    """What requests may take of one replica."""

    model_config = SettingsConfigDict(env_prefix="STRATUM_", frozen=True)

    max_connections: Annotated[int, Field(ge=1)] = 1000
    max_requests: Annotated[int, Field(ge=1, description="Worked on at once.")] = 200
    max_url_bytes: Annotated[int, Field(ge=256)] = 16 * 1024
    max_query_bytes: Annotated[int, Field(ge=128)] = 8 * 1024
    max_headers: Annotated[int, Field(ge=8)] = 100
    max_header_bytes: Annotated[int, Field(ge=1024)] = 32 * 1024
    max_body_bytes: Annotated[int, Field(ge=1024)] = 512 * 1024
    max_announcement_bytes: Annotated[int, Field(ge=1024, description="Of the body that lists the files of an upload.")] = 4 * 1024 * 1024
    max_bodies_bytes: Annotated[int, Field(ge=1024, description="Of all bodies in memory at once.")] = 128 * 1024 * 1024
    max_json_depth: Annotated[int, Field(ge=8, le=500)] = 100
    request_seconds: Annotated[float, Field(gt=0, description="For a request to arrive, to its last byte.")] = 30
    answer_seconds: Annotated[float, Field(gt=0, description="For its answer.")] = 30
    seal_seconds: Annotated[float, Field(gt=0, description="For the seal of an upload, which reads every byte.")] = 900
    drain_seconds: Annotated[float, Field(ge=0, description="From SIGTERM until no more connections are taken.")] = 0


class ApiSettings(
    DatabaseSettings,
    StorageSettings,
    TokenSettings,
    TimingSettings,
    OidcSettings,
    WebhookTargetSettings,
    SweepSettings,
    ImageSettings,
    ApiLimits,
):
    """Everything the `api` role needs."""

    # a request's statements are short; and one that gets no answer must not keep its caller waiting
    database_statement_seconds: Annotated[float, Field(gt=0)] = 3.5

    http_host: str = "127.0.0.1"
    http_port: Annotated[int, Field(ge=1, le=65_535)] = 8080
    catalog_dir: CatalogFolders = (DEFAULT_FOLDER,)
    jobs_image: Annotated[str, Field(min_length=1)] = DEFAULT_IMAGE
    tenant_requests_per_second: Annotated[float, Field(ge=0, description="Of this replica; 0: without limit.")] = 0
    anonymous_requests_per_second: Annotated[float, Field(ge=0, description="Of one address without a valid key; 0: without limit.")] = 0
    request_burst_seconds: Annotated[float, Field(gt=0, description="How much of a rate may come at once.")] = 10


class RelaySettings(DatabaseSettings, KafkaSettings, TokenSettings, TimingSettings, WatchSettings):
    """Everything the `relay` role needs."""

    max_in_flight: Annotated[int, Field(ge=1)] = 200
    publish_batch: Annotated[int, Field(ge=1)] = 100


class ProposalLimits(BaseSettings):
    """What a run may leave to be looked at."""

    model_config = SettingsConfigDict(env_prefix="STRATUM_", frozen=True)

    max_proposal_bytes: Annotated[int, Field(ge=1024, le=DOCUMENT.most_bytes)] = DOCUMENT.most_bytes
    max_dataset_files: Annotated[int, Field(ge=1, le=MOST_DATASET_FILES)] = MOST_DATASET_FILES


class ReconcileSettings(DatabaseSettings, KafkaSettings, StorageSettings, TimingSettings, WatchSettings, SweepSettings, ProposalLimits):
    """Everything the `reconcile` role needs."""


class WebhookSettings(DatabaseSettings, WebhookTargetSettings, WatchSettings):
    """Everything the `webhooks` role needs."""

    webhook_concurrency: Annotated[int, Field(ge=1, le=1000)] = 50
    webhook_per_tenant: Annotated[int, Field(ge=1)] = 20
    webhook_per_host: Annotated[int, Field(ge=1)] = 5
    webhook_connect_seconds: Annotated[float, Field(gt=0, le=30)] = 5
    webhook_read_seconds: Annotated[float, Field(gt=0, le=30)] = 10
    # shorter than the time that an orchestrator leaves between asking a role to stop and killing it
    webhook_total_seconds: Annotated[float, Field(gt=0, le=30)] = 20
    webhook_first_delay_seconds: Annotated[float, Field(gt=0)] = 5
    webhook_longest_delay_seconds: Annotated[float, Field(gt=0)] = 3600
    webhook_give_up_seconds: Annotated[float, Field(gt=0)] = 86_400
    webhook_poll_seconds: Annotated[float, Field(gt=0)] = 0.5
    ca_bundle: CaBundle | None = None


class LeftoverSettings(DatabaseSettings, StorageSettings, TimingSettings, SweepSettings):
    """Everything the commands `leftovers`, `rebuild` and `retention` need."""
