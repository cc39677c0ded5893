"""The calls about data: what there is, what is put there, what is taken out of use."""

from collections.abc import Sequence
from os import PathLike

from pydantic import ValidationError

from contracts.http import Dataset, EntityPage, EntitySummary, Retirement, RetireRequest, VersionPage, VersionSummary
from stratum.client import upload
from stratum.client.dataset import AsyncSealedDataset
from stratum.client.objects import S3Access
from stratum.client.paths import api_path
from stratum.client.transport import Transport
from stratum.errors import Conflict, Invalid, NotFound


class DataCalls:
    """What `AsyncClient` can do with entities, versions and datasets."""

    _transport: Transport

    async def entities(self) -> list[EntitySummary]:
        """All entities that have data, by name."""
        items: list[EntitySummary] = []
        cursor = None
        while True:
            page = await self._transport.get(EntityPage, "/v1/entities", {"cursor": cursor})
            items += page.items
            if (cursor := page.next_cursor) is None:
                return items

    async def versions(self, entity_id: str) -> list[VersionSummary]:
        """The data versions of an entity, and the datasets sealed in each."""
        items: list[VersionSummary] = []
        cursor = None
        while True:
            page = await self._transport.get(VersionPage, api_path("entities", entity_id, "versions"), {"cursor": cursor})
            for item in page.items:
                if items and items[-1].data_version == item.data_version:  # it went on on the next page
                    items[-1].datasets.extend(item.datasets)
                else:
                    items.append(item)
            if (cursor := page.next_cursor) is None:
                return items

    async def dataset(self, entity_id: str, data_version: str, dataset: str, *, s3: S3Access | None = None) -> AsyncSealedDataset:
        """A sealed dataset, to be read. With `s3` from the store itself, else by links that are good for a short time."""
        path = api_path("entities", entity_id, "versions", data_version, "datasets", dataset)
        return AsyncSealedDataset(await self._transport.get(Dataset, path), s3)

    async def ingest(
        self,
        entity_id: str,
        data_version: str,
        files: Sequence[str | PathLike[str]],
        dataset: str = "source",
        *,
        null: Sequence[str] = (),
        schema: str | None = None,
        delimiter: str | None = None,
        progress: upload.Progress = lambda phase, done, total: None,
    ) -> Dataset:
        """Upload files as a new dataset and seal it; returns its manifest. All or nothing.

        Args:
            files: CSV, TSV, NDJSON (each perhaps gzipped) or Parquet, all with the same columns.
            null: texts that mean null, in every column; empty fields do anyway.
            schema: `name:type,…` for columns of text files whose type shall not be found from the values.
            delimiter: between the fields of CSV files, if not a comma.
            progress: told the phase (`convert`, `hash`, `upload`), the bytes done and the bytes in all.

        Raises:
            BrokenFile: a file cannot be ingested; names the line. Nothing was uploaded.
            Conflict: the dataset exists already.
        """
        path = api_path("entities", entity_id, "versions", data_version, "datasets", dataset)
        await self._refuse_sealed(path)  # before what may be hours of conversion
        uploads = f"{path}/uploads"
        return await upload.ingest(self._transport, uploads, files, null=null, schema=schema, delimiter=delimiter, progress=progress)

    async def retire(self, entity_id: str, data_version: str, dataset: str, reason: str, *, dry_run: bool = False) -> Retirement:
        """Take a dataset out of use, for good: its files go after a grace, its name stays taken. Safe to repeat.

        Args:
            dry_run: only say what depends on it.

        Raises:
            Conflict: active processes read it.
        """
        path = api_path("entities", entity_id, "versions", data_version, "datasets", dataset, "retire")
        try:
            body = RetireRequest(reason=reason, dry_run=dry_run)
        except ValidationError as error:
            raise Invalid("The reason must have between 1 and 1000 characters.") from error
        return await self._transport.post(Retirement, path, body, repeatable=True)

    async def _refuse_sealed(self, path: str) -> None:
        try:
            there = await self._transport.get(Dataset, path)
        except NotFound:
            return
        name = f"{there.entity_id}/{there.data_version}/{there.dataset}"
        raise Conflict(
            f"The dataset {name} is sealed already.",
            "Datasets never change: choose another dataset or data version.",
            {"owner_process_id": str(there.process_id)} if there.process_id else None,
        )
