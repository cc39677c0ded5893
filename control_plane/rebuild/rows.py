"""The rows that a manifest stands for. Pure functions."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from contracts.identifiers import new_id
from contracts.manifest import Manifest
from control_plane.acceptance import work_digest
from control_plane.rebuild.verify import Sealed
from control_plane.seal import registration

REASON = "the dataset is sealed; this record was rebuilt from its manifest"


def dataset_row(sealed: Sealed) -> dict[str, Any]:
    """The row of `datasets`."""
    return registration(sealed.path, sealed.manifest, sealed.sha256, upload_id_of(sealed.manifest))


def upload_id_of(manifest: Manifest) -> UUID | None:
    """The upload that made it; None: a process did."""
    return UUID(manifest.run_id) if manifest.process_id is None else None


def upload_row(manifest: Manifest) -> dict[str, Any]:
    """The upload. What was announced of its files is forgotten but for names and sizes: it is sealed, and nobody compares it any more."""
    prefix = f"{manifest.run_id}/"
    files = [{"name": file.key.rsplit(prefix, 1)[-1], "bytes": file.size} for file in manifest.files]
    names = {name: getattr(manifest, name) for name in ("tenant", "entity_id", "data_version", "dataset")}
    return {**names, "id": upload_id_of(manifest), "files": files, "sealed_at": manifest.created_at}


def process_row(made: Sequence[Manifest]) -> dict[str, Any]:
    """The process that made these datasets: its result, and perhaps the rows that it refused.

    Its digest is computed as at acceptance, so that the same work, asked for again, is found to be done.
    """
    main, *others = sorted(made, key=lambda manifest: len(manifest.dataset))
    inputs = [item.model_dump(mode="json") for item in main.inputs]
    digest = work_digest(
        main.tenant, main.entity_id, main.data_version, main.dataset, str(main.action), str(main.action_revision), main.parameters, inputs
    )
    return {
        "id": main.process_id,
        "tenant": main.tenant,
        "reason": REASON,
        "entity_id": main.entity_id,
        "data_version": inputs[0]["data_version"] if inputs else main.data_version,
        "action": main.action,
        "action_revision": main.action_revision,
        "parameters": main.parameters,
        "input_dataset": inputs[0]["dataset"] if inputs else "source",
        "output_data_version": main.data_version,
        "output_dataset": main.dataset,
        "rejected_dataset": others[0].dataset if others else None,
        "work_digest": digest,
        "metrics": {"rows_out": main.rows, "bytes_out": main.bytes},
        "step": main.step,
        "attempt": main.attempt,
        "run_id": main.run_id,
        "image": main.image or "",
        "inputs": inputs,
        "message_id": new_id(),
        "sealed_at": main.created_at,
        "event_data": {"attempt": main.attempt, "reason": REASON, "location": main.location},
    }
