"""Running again what made a dataset, and comparing what comes out."""

# ruff: noqa: ASYNC109 (`timeout` is answered with a `TimedOut` that says how far the process is; a cancel scope could not)

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from contracts.http import Dataset, Process
from stratum.errors import Invalid, ServerFault

if TYPE_CHECKING:
    from stratum.client.asynchronous import AsyncClient

PARTITIONS = 7
"""Of the second run: few runs are partitioned so by chance, and a result that depends on it shows."""


@dataclass(frozen=True)
class Reproduction:
    """Both fingerprints, and the process that made the second dataset (in the data version `data_version`)."""

    expected: str
    found: str
    process: Process
    data_version: str
    location: str
    same_revision: bool
    """Whether the action is still the one that made the dataset; if not, a difference may come from that."""
    deterministic: bool
    """Whether the action promises the same rows; a query may depend on ties in its order, or on sums of floats."""

    @property
    def same(self) -> bool:
        """Whether both datasets hold the same rows."""
        return self.expected == self.found


async def reproduce(
    client: "AsyncClient",
    entity_id: str,
    data_version: str,
    dataset: str,
    *,
    timeout: float | None,
    on_change: Callable[[Process], None],
) -> Reproduction:
    """See `AsyncClient.reproduce`."""
    manifest = (await client.dataset(entity_id, data_version, dataset)).manifest
    if manifest.action is None or manifest.content_fingerprint is None or not manifest.inputs:
        raise Invalid(f"{entity_id}/{data_version}/{dataset} was uploaded, not computed.", "Only what an action made can be made again.")
    deterministic = all(action.deterministic for action in await client.actions() if action.name == manifest.action)
    main = (await client.get(manifest.process_id)).output_dataset if manifest.process_id else dataset
    scratch = f"reproduce-{uuid4().hex[:8]}"
    process = await client.run(
        entity_id,
        manifest.inputs[0].data_version,
        manifest.action,
        manifest.parameters,
        input_dataset=_input_dataset(manifest),
        output_dataset=main,  # of refused rows too: they come out beside it, under its name and an ending
        output_data_version=scratch,
        resource_profile={"shuffle_partitions": PARTITIONS},
        labels={"reproduces": f"{data_version}/{dataset}"},
        wait=True,
        timeout=timeout,
        on_change=on_change,
    )
    again = next((artifact for artifact in process.artifacts if artifact.dataset == dataset), None)
    if again is None or again.content_fingerprint is None:
        raise ServerFault(f"Process {process.id} succeeded without a fingerprint of {dataset}.")
    return Reproduction(
        expected=manifest.content_fingerprint,
        found=again.content_fingerprint,
        process=process,
        data_version=scratch,
        location=again.location,
        same_revision=process.action_revision == manifest.action_revision,
        deterministic=deterministic,
    )


def _input_dataset(manifest: Dataset) -> str | None:
    """The dataset that the request named. Actions with several inputs name them in their parameters."""
    return manifest.inputs[0].dataset if len(manifest.inputs) == 1 else None
