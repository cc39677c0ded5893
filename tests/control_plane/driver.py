"""The test in the driver's place: it is granted an attempt, writes Parquet, proposes and reports."""

import asyncio
import hashlib
from typing import Any

import httpx
import pyarrow as pa

from contracts.command import Command
from contracts.identifiers import new_id
from contracts.layout import DatasetPath, StorageRoot
from contracts.manifest import schema_fingerprint
from contracts.proposal import Column, ColumnStatistics, DataFile, Proposal, ProposedDataset, RunMetrics
from tests.control_plane.caller import TABLE, parquet
from tests.control_plane.installation import Installation

COLUMNS = (Column(name="carrier", type="string"), Column(name="delay", type="bigint"))
STATISTICS = {"carrier": ColumnStatistics(min="AA", max="UA", nulls=1), "delay": ColumnStatistics(min=1, max=4, nulls=0)}


class Driver:
    """One run of a command."""

    def __init__(self, client: httpx.AsyncClient, installation: Installation, command: Command, run_id: str | None = None) -> None:
        self.client = client
        self.command = command
        self.run_id = run_id or f"run-{new_id().hex[-12:]}"
        self.token: str = command.flow_token
        self.sequence = 0
        self.store = installation.s3
        self.root = StorageRoot.parse(command.storage_root)

    @property
    def path(self) -> DatasetPath:
        """Where the result belongs."""
        return self.root.dataset(self.command.entity_id, self.command.output.data_version, self.command.output.dataset)

    async def report(self, kind: str, token: str | None = None, **fields: Any) -> httpx.Response:
        """Call the callback endpoint; the token of a granted report is kept."""
        self.sequence += 1
        body = {"type": kind, "sequence": self.sequence, "run_id": self.run_id, **fields}
        headers = {"Authorization": f"Bearer {token or self.token}"}
        answer = await self.client.post("/v1/processes/callback", json=body, headers=headers)
        if answer.status_code == 200 and token is None:
            self.token = answer.json()["run_token"]
        return answer

    async def started(self) -> "Driver":
        answer = await self.report("started")
        assert answer.status_code == 200, answer.text
        return self

    async def heartbeat(self, **progress: Any) -> httpx.Response:
        return await self.report("heartbeat", **({"progress": progress} if progress else {}))

    async def failed(
        self, *, retryable: bool, message: str = "the executor ran out of disk", error_class: str = "NO_SPACE"
    ) -> httpx.Response:
        return await self.report("failed", error={"class": error_class, "message": message, "retryable": retryable})

    async def write(self, table: pa.Table = TABLE, name: str = "part-00000.zstd.parquet", path: DatasetPath | None = None) -> DataFile:
        """Put a Parquet file into the run's folder."""
        data = parquet(table)
        key = (path or self.path).run_prefix(self.run_id) + name
        etag = await self.put(key, data)
        return DataFile(key=key, size=len(data), rows=table.num_rows, etag=etag)

    async def put(self, key: str, data: bytes) -> str:
        """Put an object into the tenant's bucket; returns its etag."""
        answer = await asyncio.to_thread(self.store.put_object, Bucket=self.root.bucket, Key=key, Body=data)
        return str(answer["ETag"].strip('"'))

    def proposed(self, *files: DataFile, **changes: Any) -> ProposedDataset:
        """The dataset that the files make."""
        fields: dict[str, Any] = {
            "output": self.command.output,
            "files": files,
            "rows": sum(file.rows for file in files),
            "bytes": sum(file.size for file in files),
            "columns": COLUMNS,
            "schema_fingerprint": schema_fingerprint(COLUMNS),
            "column_statistics": STATISTICS,
            "content_fingerprint": "v1:00000000000000ff",
        }
        return ProposedDataset(**{**fields, **changes})

    def proposal(self, *datasets: ProposedDataset, **changes: Any) -> Proposal:
        fields: dict[str, Any] = {
            "made_by": self.command.model_dump(include={"tenant", "process_id", "step", "attempt"}),
            "run_id": self.run_id,
            "entity_id": self.command.entity_id,
            "datasets": datasets,
            "metrics": RunMetrics(rows_in=4, rows_out=4, bytes_in=100, bytes_out=200, seconds=1.5),
            "code_version": "0.1.0",
            "spark_version": "4.1.2",
        }
        return Proposal(**{**fields, **changes})

    async def propose(self, proposal: Proposal | bytes) -> dict[str, str]:
        """Put the proposal; returns its reference."""
        body = proposal if isinstance(proposal, bytes) else proposal.model_dump_json().encode()
        key = self.path.proposal_key(self.run_id)
        await self.put(key, body)
        return {"key": key, "sha256": f"sha256:{hashlib.sha256(body).hexdigest()}"}

    async def finished(self, reference: dict[str, str]) -> httpx.Response:
        return await self.report("finished", proposal=reference)

    async def make(self) -> dict[str, str]:
        """Write the usual file and propose it; returns the proposal's reference."""
        return await self.propose(self.proposal(self.proposed(await self.write())))

    async def make_all(self) -> dict[str, str]:
        """The same, and for a command that asks for them a dataset of rejected rows."""
        rejected = self.command.rejected_output
        if rejected is None:
            return await self.make()
        path = self.root.dataset(self.command.entity_id, rejected.data_version, rejected.dataset)
        refused = self.proposed(await self.write(TABLE.slice(3), path=path), output=rejected)
        return await self.propose(self.proposal(self.proposed(await self.write()), refused))

    async def complete(self) -> "Driver":
        """From the grant to the last report."""
        await self.started()
        answer = await self.finished(await self.make())
        assert answer.status_code == 200, answer.text
        assert answer.json()["state"] == "sealing"
        return self

    def listing(self) -> list[str]:
        """All keys under the result's prefix."""
        found = self.store.list_objects_v2(Bucket=self.root.bucket, Prefix=self.path.prefix)
        return [item["Key"] for item in found.get("Contents", ())]

    def manifest(self) -> bytes | None:
        """The bytes of the manifest, if there is one."""
        if self.path.manifest_key not in self.listing():
            return None
        return bytes(self.store.get_object(Bucket=self.root.bucket, Key=self.path.manifest_key)["Body"].read())
