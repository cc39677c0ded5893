"""The course of a run: grant, inputs, computation, files, proposal."""

import hashlib
import importlib.metadata
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import structlog
from pyspark.sql import DataFrame, SparkSession

from contracts.callback import Grant, ProposalRef
from contracts.command import AttemptRef, Command, DatasetName
from contracts.layout import DatasetPath, StorageRoot
from contracts.model import canonical_json
from contracts.proposal import Proposal, ProposedDataset, RunMetrics
from contracts.spark_conf import spark_conf
from spark_jobs.actions import Action, Outcome, find_action
from spark_jobs.edge.callbacks import ControlPlane
from spark_jobs.edge.datasets import Datasets
from spark_jobs.edge.object_store import ObjectStore
from spark_jobs.errors import ControlPlaneUnreachable, EmptyInput, GrantLost, InvalidCommand, Terminated
from spark_jobs.executors import ExecutorWatch
from spark_jobs.failure import describe
from spark_jobs.heartbeat import Heartbeats
from spark_jobs.progress import Tracker
from spark_jobs.session import start_session
from spark_jobs.settings import Settings

log = structlog.get_logger()


class ExitCode(IntEnum):
    """How the driver ends."""

    SUCCEEDED = 0
    FAILED = 1
    USAGE = 2
    NOT_GRANTED = 3
    UNREACHABLE = 4
    TERMINATED = 143


def run(command: Command, settings: Settings) -> ExitCode:
    """Run one attempt, report its end, and say how the process is to exit."""
    control_plane = ControlPlane(command, settings.run_id, settings.ca_bundle)
    try:
        grant = control_plane.started()
        log.info("granted", storage_root=grant.storage_root)
        return _granted(command, settings, control_plane, grant)
    except GrantLost as error:
        log.error("this run is not wanted; it stops", reason=str(error))  # noqa: TRY400  # expected, no trace needed
        return ExitCode.NOT_GRANTED
    except ControlPlaneUnreachable as error:
        log.error("the control plane cannot be reached", reason=str(error))  # noqa: TRY400
        return ExitCode.UNREACHABLE
    finally:
        control_plane.close()


def _granted(command: Command, settings: Settings, control_plane: ControlPlane, grant: Grant) -> ExitCode:
    """Do the work and report the outcome, as long as the grant holds."""
    tracker = Tracker()
    executors = ExecutorWatch(tracker, settings.executor_deadline_seconds, settings.executor_refusals)
    try:
        with executors, Heartbeats(control_plane, grant.heartbeat_seconds, tracker.progress, tracker.cancel) as heartbeats:
            try:
                proposal = Run(command, settings, grant, tracker, heartbeats).propose()
            except (Exception, Terminated) as error:
                heartbeats.stop()  # none may come after the report of the end
                heartbeats.check()  # a cancelled Spark job is a consequence of the loss, not a failure
                return _report_failure(control_plane, error if isinstance(error, Terminated) else executors.failure or error)
        heartbeats.check()
        control_plane.finished(proposal)
        log.info("finished", proposal=proposal.key)
        return ExitCode.SUCCEEDED
    finally:
        tracker.stop()


def _report_failure(control_plane: ControlPlane, error: BaseException) -> ExitCode:
    reported = describe(error)
    log.error("failed", error_class=reported.class_, reason=reported.message, exc_info=error)
    control_plane.failed(reported)
    return ExitCode.TERMINATED if isinstance(error, Terminated) else ExitCode.FAILED


@dataclass(frozen=True, slots=True)
class Run:
    """A granted attempt at work."""

    command: Command
    settings: Settings
    grant: Grant
    tracker: Tracker
    heartbeats: Heartbeats

    def propose(self) -> ProposalRef:
        """Compute, write and examine; returns where the proposal lies."""
        began = time.monotonic()
        action = self._action()
        self._refuse_empty(action)
        store = ObjectStore(self.settings)
        datasets = Datasets(self._start_spark(), store)

        self._enter("reading")
        inputs = {each.view: datasets.read(self._path(each), each) for each in self.command.inputs}
        self._enter("computing")
        outcome = action.apply(inputs, self.command.parameters)
        proposed = [self._make(datasets, rows, name, outcome) for name, rows in self._outputs(outcome).items()]
        proposal = self._proposal(proposed, began)
        return self._put(store, proposal)

    def _action(self) -> Action[Any]:
        action = find_action(self.command.action)
        action.read(self.command.parameters)  # before Spark starts, since a bad parameter needs no Spark to be seen
        return action

    def _refuse_empty(self, action: Action[Any]) -> None:
        empty = [f"{each.data_version}/{each.dataset}" for each in self.command.inputs if not each.rows]
        if empty and not action.takes_empty:
            raise EmptyInput(f"the input {', '.join(empty)} has no rows, of which `{self.command.action}` makes no sense")

    def _start_spark(self) -> SparkSession:
        profile = self.command.resource_profile
        conf = spark_conf(
            self.settings.s3_endpoint,
            self.settings.s3_region,
            shuffle_partitions=profile.shuffle_partitions if profile else None,
        )
        self.tracker.spark = start_session(
            f"{self.command.action} {self.command.process_id}",
            conf,
            access_key=self.settings.s3_access_key.get_secret_value(),
            secret_key=self.settings.s3_secret_key.get_secret_value(),
        )
        return self.tracker.spark

    def _enter(self, phase: str) -> None:
        self.heartbeats.check()
        self.tracker.phase = phase
        log.info(phase)

    def _path(self, name: DatasetName) -> DatasetPath:
        root = StorageRoot.parse(self.grant.storage_root)
        return root.dataset(self.command.entity_id, name.data_version, name.dataset)

    def _outputs(self, outcome: Outcome) -> Mapping[DatasetName, DataFrame]:
        outputs = {self.command.output: outcome.rows}
        if outcome.rejected is not None:
            if self.command.rejected_output is None:
                raise InvalidCommand("rows were rejected, but the command names no `rejected_output` for them")
            outputs[self.command.rejected_output] = outcome.rejected
        return outputs

    def _make(self, datasets: Datasets, rows: DataFrame, name: DatasetName, outcome: Outcome) -> ProposedDataset:
        path = self._path(name)
        self._enter("writing")
        datasets.write(rows, path, self.settings.run_id)
        self._enter("examining")
        return datasets.propose(path, self.settings.run_id, rows.schema, outcome.quality)

    def _proposal(self, proposed: list[ProposedDataset], began: float) -> Proposal:
        command = self.command
        return Proposal(
            made_by=AttemptRef(tenant=command.tenant, process_id=command.process_id, step=command.step, attempt=command.attempt),
            run_id=self.settings.run_id,
            entity_id=command.entity_id,
            datasets=tuple(proposed),
            metrics=RunMetrics(
                rows_in=sum(each.rows for each in command.inputs),
                rows_out=sum(each.rows for each in proposed),
                bytes_in=sum(each.bytes for each in command.inputs),
                bytes_out=sum(each.bytes for each in proposed),
                seconds=round(time.monotonic() - began, 3),
            ),
            code_version=importlib.metadata.version("stratum"),
            spark_version=self.tracker.spark.version if self.tracker.spark else "",
        )

    def _put(self, store: ObjectStore, proposal: Proposal) -> ProposalRef:
        self.heartbeats.check()
        path = self._path(self.command.output)
        key = path.proposal_key(self.settings.run_id)
        body = canonical_json(proposal.model_dump(mode="json"))
        store.put(path.root.bucket, key, body)
        return ProposalRef(key=key, sha256=f"sha256:{hashlib.sha256(body).hexdigest()}")
