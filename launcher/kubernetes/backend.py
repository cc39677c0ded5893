"""The `kubernetes` backend: one Job per attempt. The cluster is the state; nothing of it needs to be kept here."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from secrets import token_hex

import structlog

from contracts.command import AttemptRef
from launcher.backend import Submitted, Survey
from launcher.errors import BackendBusy, BackendRefused, BackendUnavailable, JobAbsent, JobConflict, NotNow
from launcher.job import Ended, Job, JobSpec, name_of
from launcher.kubernetes import names, paths
from launcher.kubernetes.api import AlreadyExists, ApiRefused, Conflict, KubernetesApi, NotFound
from launcher.kubernetes.config import KubernetesConfig, Place
from launcher.kubernetes.containers import Document
from launcher.kubernetes.ending import ended, is_final
from launcher.kubernetes.job_manifest import command_secret_name, job_manifest, secret_manifest
from launcher.kubernetes.listing import list_jobs
from launcher.kubernetes.mirror import JobKey
from launcher.kubernetes.observing import JobWatch
from launcher.kubernetes.platform import Platform
from launcher.kubernetes.reasons import ImageTrouble
from launcher.kubernetes.refusals import refused_job
from launcher.kubernetes.surveying import survey
from launcher.kubernetes.wish import EndWish, end_wish

log = structlog.get_logger()

_TRIES = 10
"""How often a change is tried at a Job that changes meanwhile."""


class KubernetesBackend:
    """Jobs in the tenants' namespaces of one cluster. Any number of backends may be used at once; what they share is the cluster."""

    def __init__(self, api: KubernetesApi, config: KubernetesConfig, platform: Platform) -> None:
        self._api = api
        self._config = config
        self._platform = platform
        self._selector = names.selector(names.managed_labels(platform.cluster))
        self._watch = JobWatch(api, config.namespaces, self._selector, config.image_patience_seconds, self._end_without_image)

    @classmethod
    @contextmanager
    def open(cls, config: KubernetesConfig, platform: Platform) -> "Iterator[KubernetesBackend]":
        """The backend of the cluster that this runs in, or that the kubeconfig names.

        Raises:
            BackendUnavailable: there is neither.
        """
        with KubernetesApi.open() as api:
            backend = cls(api, config, platform)
            try:
                yield backend
            finally:
                backend.close()

    def close(self) -> None:
        """End the watches. Jobs go on."""
        self._watch.stop()

    def submit(self, spec: JobSpec) -> Submitted:
        """See `Backend.submit`. A try whose answer was lost is found by the next one.

        Raises:
            CommandUnfit: the tenant has no namespace here, or the cluster does not take the Job.
        """
        place = self._config.place(spec.command.tenant)
        # a name of its own for each try: an earlier Job's Secret of the same name may still be on its way out
        secret_name = f"{spec.name}-{token_hex(4)}"
        try:
            job = self._api.create(paths.jobs(place.namespace), job_manifest(spec, place, self._config, self._platform, secret_name))
        except AlreadyExists:
            return self._adopt(spec, place)
        except ApiRefused as refusal:
            if self._is_there(spec, place):  # quotas are judged before names: it may be this very Job that fills the quota
                return self._adopt(spec, place)
            raise refused_job(refusal, place.namespace) from refusal
        self._give_command(spec, place, job)
        return Submitted(adopted=False)

    def jobs(self) -> Sequence[Job]:
        """See `Backend.jobs`."""
        with _answered():
            return [job for namespace in self._config.namespaces for job in list_jobs(self._api, namespace, self._selector)]

    def survey(self) -> Survey:
        """See `Backend.survey`. A namespace that is not there, or that the launcher may not see, hides its own tenants' Jobs alone."""
        with _answered():
            return survey(self._api, self._config, self._selector)

    def changes(self, timeout_seconds: float) -> Sequence[Job]:
        """See `Backend.changes`. Also ends what waits too long for its image."""
        with _answered():
            return self._watch.changes(timeout_seconds)

    def kill(self, attempt: AttemptRef, reason: str) -> Ended | None:
        """See `Backend.kill`."""
        with _allowed():
            return self._wish_end(self._key(attempt), "killed", reason)

    def remove(self, attempt: AttemptRef) -> None:
        """See `Backend.remove`. Pods and Secret go with the Job."""
        with _allowed():
            try:
                self._api.delete(paths.job(*self._key(attempt)))
            except (NotFound, JobAbsent):
                log.debug("the Job is gone already", job_name=name_of(attempt))

    def _is_there(self, spec: JobSpec, place: Place) -> bool:
        try:
            self._api.get(paths.job(place.namespace, spec.name))
        except ApiRefused:
            return False  # it is not there, or may not be looked at; then the first refusal says what is wrong
        return True

    def _adopt(self, spec: JobSpec, place: Place) -> Submitted:
        """Take the Job that is there for the one that was to be made, if it is, and complete it."""
        try:
            job = self._api.get(paths.job(place.namespace, spec.name))
        except NotFound as error:
            raise BackendUnavailable(f"the Job {spec.name} was removed while it was submitted") from error
        except ApiRefused as refusal:
            raise refused_job(refusal, place.namespace) from refusal
        metadata = job["metadata"]
        digest = metadata.get("annotations", {}).get(names.DIGEST)
        if digest != spec.digest:
            raise JobConflict(f"the Job {spec.name} was made from another command (digest {digest}, now {spec.digest})")
        if "deletionTimestamp" in metadata:
            raise BackendUnavailable(f"the Job {spec.name} is being removed")
        if not is_final(job):
            self._give_command(spec, place, job)
        return Submitted(adopted=True)

    def _give_command(self, spec: JobSpec, place: Place, job: Document) -> None:
        """Make the Secret that the Job's pod waits for, unless it is there."""
        name, uid = command_secret_name(job), job["metadata"]["uid"]
        try:
            self._api.create(paths.secrets(place.namespace), secret_manifest(spec, place, self._config, self._platform, name, uid))
        except AlreadyExists:
            return
        except ApiRefused as refusal:
            error = refused_job(refusal, place.namespace)
            if not isinstance(error, NotNow):
                self._end_without_command(JobKey(place.namespace, spec.name), str(error))
            raise error from refusal

    def _end_without_command(self, key: JobKey, reason: str) -> None:
        """What cannot be ended now is ended later, as a job whose attempt is over; its sender is told of the refusal either way."""
        try:
            self._wish_end(key, "killed", reason)
        except (JobAbsent, ApiRefused) as error:
            log.warning("a Job without a command cannot be ended", job_name=key.name, namespace=key.namespace, reason=str(error))

    def _end_without_image(self, key: JobKey, trouble: ImageTrouble) -> None:
        log.warning("a Job waits too long for its image", job_name=key.name, image=trouble.image, words=trouble.words)
        try:
            self._wish_end(key, "image_unavailable", f"{trouble}; tried for {self._config.image_patience_seconds} s")
        except JobAbsent:
            log.debug("the Job is gone already", job_name=key.name)

    def _wish_end(self, key: JobKey, outcome: str, reason: str) -> Ended | None:
        """Write the wish at the Job and let its time run out, both at once and only while it has not ended."""
        path = paths.job(*key)
        for _ in range(_TRIES):
            try:
                job = self._api.get(path)
                if is_final(job):
                    return ended(job, None)
                if end_wish(job) is None:
                    self._api.merge(path, _ending(job, outcome, reason))
            except NotFound as error:
                raise JobAbsent(f"there is no Job {key.name}") from error
            except Conflict:
                continue
            return None
        raise BackendBusy(f"the Job {key.name} changes too often to be ended")

    def _key(self, attempt: AttemptRef) -> JobKey:
        place = self._config.tenants.get(attempt.tenant)
        if place is None:
            raise JobAbsent(f"the tenant {attempt.tenant!r} has no namespace here, so there is no Job {name_of(attempt)}")
        return JobKey(place.namespace, name_of(attempt))


def _ending(job: Document, outcome: str, reason: str) -> Document:
    """The change that ends a Job: in a second, if it runs or waits for its pod; at once, if its queue never let it go."""
    wish = EndWish.model_validate({"outcome": outcome, "reason": reason, "at": datetime.now(UTC)})
    metadata: Document = {
        "resourceVersion": job["metadata"]["resourceVersion"],
        "annotations": {names.END_WISH: wish.model_dump_json()},
    }
    if job["spec"].get("suspend"):
        metadata["labels"] = {names.QUEUE: None}  # whoever admits Jobs of the queue shall not start it any more
    return {"metadata": metadata, "spec": {"activeDeadlineSeconds": 1}}


@contextmanager
def _answered() -> Iterator[None]:
    """A no of the API server where only a wrong set-up can be the cause: it is waited for until that is mended."""
    try:
        yield
    except ApiRefused as refusal:
        raise BackendUnavailable(
            f"the API server refuses the launcher (HTTP {refusal.status}); see what `contracts/access.py` lists: {refusal}"
        ) from refusal


@contextmanager
def _allowed() -> Iterator[None]:
    """A no of the API server to what concerns one Job."""
    try:
        yield
    except ApiRefused as refusal:
        raise BackendRefused(f"the API server refuses the launcher (HTTP {refusal.status}): {refusal}") from refusal
