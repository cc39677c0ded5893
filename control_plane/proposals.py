"""A run's proposal against what was granted and what lies there; from it, the manifests."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from contracts.command import DatasetName, InputDataset
from contracts.errors import Unreadable
from contracts.layout import PROPOSAL_NAME, DatasetPath
from contracts.manifest import Manifest, schema_fingerprint
from contracts.proposal import DatasetContent, Proposal, ProposedDataset
from contracts.reading import DOCUMENT, read
from control_plane.errors import ObjectMissing, ProposalRejected, TooMuch
from control_plane.lifecycle import Current
from control_plane.settings import ProposalLimits
from control_plane.storage import ObjectInfo, Storage

_MARKERS = ("_SUCCESS", PROPOSAL_NAME)


@dataclass(frozen=True, slots=True)
class Checked:
    """A proposed dataset that lies at `path` just as `proposal` says."""

    path: DatasetPath
    dataset: ProposedDataset
    proposal: Proposal
    proposal_sha256: str


def exists(storage: Storage, current: Current) -> bool:
    """Whether the granted run left a proposal."""
    if current.run_id is None:
        return False
    path = current.outputs[0]
    return storage.exists(path.root.bucket, path.proposal_key(current.run_id))


def checked(storage: Storage, current: Current, limits: ProposalLimits) -> list[Checked]:
    """The proposed datasets of the granted run, the result first, each compared with the listing of its folder.

    Once a manifest may be there they were compared, and what became of the folder since changes nothing: the seal is to be finished.

    Raises:
        ProposalRejected: something was not granted, is missing, is too many, or has another size or etag.
    """
    run_id = current.run_id
    if run_id is None:
        raise ProposalRejected("no run was granted the attempt")
    proposal, digest = _read(storage, current, run_id, limits.max_proposal_bytes)
    if (proposal.made_by, proposal.run_id, proposal.entity_id) != (current.ref, run_id, current.entity_id):
        raise ProposalRejected("the proposal was made by another run than the one that was granted the attempt")
    granted = [DatasetName(data_version=path.data_version, dataset=path.dataset) for path in current.outputs]
    by_name = {dataset.output: dataset for dataset in proposal.datasets}
    if set(by_name) != set(granted[: len(by_name)]) or len(by_name) != len(proposal.datasets):
        raise ProposalRejected(
            f"the run proposes {[d.output.dataset for d in proposal.datasets[:5]]}, it was granted {[name.dataset for name in granted]}"
        )
    result = []
    for path, name in zip(current.outputs, granted, strict=True):
        if name in by_name:
            if current.manifest_put_at is None:
                compare(by_name[name], _listing(storage, path, run_id, limits.max_dataset_files), path.run_prefix(run_id))
            result.append(Checked(path, by_name[name], proposal, digest))
    return result


def _listing(storage: Storage, path: DatasetPath, run_id: str, most: int) -> list[ObjectInfo]:
    prefix = path.run_prefix(run_id)
    try:
        found = storage.list(path.root.bucket, prefix, most + len(_MARKERS))
    except TooMuch as error:
        raise ProposalRejected(f"{error}; a dataset may have {most} files: write fewer and larger ones") from error
    if sum(item.key.removeprefix(prefix) not in _MARKERS for item in found) > most:
        raise ProposalRejected(f"there are more than {most} files; a dataset may have {most}: write fewer and larger ones")
    return found


def compare(dataset: ProposedDataset, listing: list[ObjectInfo], prefix: str) -> None:
    """Raise `ProposalRejected` unless the proposed files are exactly those that lie there."""
    lies = {item.key: item for item in listing if item.key.removeprefix(prefix) not in _MARKERS}
    said = {file.key: file for file in dataset.files}
    if len(said) != len(dataset.files):
        raise ProposalRejected("the proposal names a file twice")
    if said.keys() != lies.keys():
        missing, extra = sorted(said.keys() - lies.keys()), sorted(lies.keys() - said.keys())
        raise ProposalRejected(f"the folder is not what the proposal says: missing {missing[:3]}, not named {extra[:3]}")
    for key, file in said.items():
        if (file.size, file.etag) != (lies[key].size, lies[key].etag):
            raise ProposalRejected(f"{key} was changed after it was proposed")
    if sum(file.rows for file in dataset.files) != dataset.rows or sum(file.size for file in dataset.files) != dataset.bytes:
        raise ProposalRejected("the sums of rows and bytes are not those of the files")
    if schema_fingerprint(dataset.columns) != dataset.schema_fingerprint:
        raise ProposalRejected("the schema fingerprint is not that of the columns")


def manifest(current: Current, checked: Checked, now: datetime) -> Manifest:
    """The manifest of a checked dataset."""
    path, run_id = checked.path, checked.proposal.run_id
    return Manifest(
        **{name: getattr(checked.dataset, name) for name in DatasetContent.model_fields},
        tenant=current.tenant,
        entity_id=current.entity_id,
        data_version=path.data_version,
        dataset=path.dataset,
        process_id=current.id,
        step=current.step,
        attempt=current.attempt,
        run_id=run_id,
        location=path.uri(path.run_prefix(run_id)),
        action=current.action,
        action_revision=current.action_revision,
        parameters=current.parameters,
        inputs=tuple(InputDataset.model_validate(item) for item in current.inputs),
        image=current.image,
        code_version=checked.proposal.code_version,
        spark_version=checked.proposal.spark_version,
        created_at=now,
    )


def _read(storage: Storage, current: Current, run_id: str, most: int) -> tuple[Proposal, str]:
    path = current.outputs[0]
    try:
        body = storage.get(path.root.bucket, path.proposal_key(run_id), most)
    except TooMuch as error:
        raise ProposalRejected(f"the proposal is too large: {error}") from error
    except ObjectMissing as error:
        raise ProposalRejected(f"there is no proposal at {path.proposal_key(run_id)}") from error
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    if current.proposal_sha256 not in (None, digest):
        raise ProposalRejected("the proposal is not the one that the run reported")
    try:
        return read(Proposal, body, DOCUMENT), digest
    except Unreadable as error:
        raise ProposalRejected(f"the proposal is not readable: {error}") from error
