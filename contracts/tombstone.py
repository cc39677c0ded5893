"""`_retired.json`, beside the manifest: it exists = the dataset is retired. Put once, create-only, by the control plane alone."""

import builtins
from typing import Annotated

from pydantic import Field, StringConstraints

from contracts.command import Sha256
from contracts.identifiers import Identifier, Tenant
from contracts.model import Contract, ContractVersion, Timestamp, canonical_json

Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]


class Tombstone(Contract):
    """Says that the manifest beside it names files that go, or are gone, and why. The name stays taken."""

    contract_version: ContractVersion = 1
    tenant: Tenant
    entity_id: Identifier
    data_version: Identifier
    dataset: Identifier
    manifest_sha256: Sha256 = Field(description="Of the manifest of the retired dataset, which stays.")
    retired_at: Timestamp
    retired_by: str
    reason: Reason

    def to_bytes(self) -> builtins.bytes:
        """The bytes that are put."""
        return canonical_json(self.model_dump(mode="json"))
