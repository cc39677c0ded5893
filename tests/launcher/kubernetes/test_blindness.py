"""A namespace that is not there, or not shown, hides its own tenants' Jobs and nobody else's."""

import pytest

from launcher.errors import BackendUnavailable, CommandUnfit
from launcher.job import Pending
from launcher.kubernetes import names
from launcher.kubernetes.backend import KubernetesBackend
from tests.launcher.kubernetes.stub_server import EXPIRED, FULL, Document, Server, a_job, status
from tests.launcher.samples import a_spec


def test_a_survey_names_whose_jobs_it_could_not_see(server: Server, backend: KubernetesBackend) -> None:
    server.jobs["one"].append(a_job("one", "acme"))
    server.jobs["two"].append(a_job("two", "beta"))
    assert (len(backend.survey().jobs), backend.survey().unseen) == (2, ())
    server.refused = {"two"}
    survey = backend.survey()
    assert ([job.attempt.tenant for job in survey.jobs], survey.unseen) == (["acme"], ("beta", "gamma"))
    with pytest.raises(BackendUnavailable, match="cannot list"):
        backend.jobs()
    server.refused = {"one", "two"}
    with pytest.raises(BackendUnavailable, match="cannot list"):
        backend.survey()


def test_a_list_that_grows_old_between_its_pages_is_begun_anew(server: Server, backend: KubernetesBackend) -> None:
    first = (200, {"items": [a_job("one", "acme")], "metadata": {"resourceVersion": "1", "continue": "next"}})
    server.jobs["one"].append(a_job("one", "acme"))
    server.pages["one"].extend([first, EXPIRED])
    assert (len(backend.survey().jobs), backend.survey().unseen) == (1, ())
    server.pages["one"].extend([first, EXPIRED] * 3)
    assert backend.survey().unseen == ("acme",)


def test_changes_of_the_others_are_told(server: Server, backend: KubernetesBackend) -> None:
    server.refused = {"two"}
    server.jobs["one"].append(a_job("one", "acme"))
    (job,) = backend.changes(5)
    assert (job.attempt.tenant, isinstance(job.state, Pending)) == ("acme", True)
    assert backend.changes(0) == []


def _without(key: str, mark: str) -> Document:
    job = a_job("one", "acme")
    del job["metadata"][key][mark]
    return job


def _copied() -> Document:
    job = a_job("one", "acme")
    job["metadata"] |= {"name": "a-copy", "uid": "another"}
    return job


@pytest.mark.parametrize(
    "damaged",
    [
        _without("annotations", names.STORAGE_ROOT),
        _without("annotations", names.RESOURCES),
        _without("labels", names.ATTEMPT),
        {**a_job("one", "acme"), "metadata": {**_copied()["metadata"], "labels": {names.STEP: "first"}, "annotations": {}}},
        _copied(),
    ],
)
def test_a_job_that_somebody_copied_or_damaged_is_passed_over(server: Server, backend: KubernetesBackend, damaged: Document) -> None:
    server.jobs["one"].append(damaged)
    server.jobs["two"].append(a_job("two", "beta"))
    assert [job.attempt.tenant for job in backend.survey().jobs] == ["beta"]
    assert [job.attempt.tenant for job in backend.changes(5)] == ["beta"]
    server.watches["one"].append([{"type": "DELETED", "object": damaged}])
    assert backend.changes(0.5) == []


def test_when_nothing_is_shown_nobody_is_told_that_all_is_quiet(server: Server, backend: KubernetesBackend) -> None:
    server.refused = {"one", "two"}
    with pytest.raises(BackendUnavailable, match="no namespace of one, two can be watched"):
        backend.changes(0)


@pytest.mark.parametrize(
    "words", ["exceeded quota: q", "status unknown for quota: q, resources: pods", "insufficient quota to consume: pods"]
)
def test_a_full_quota_is_want_of_room(server: Server, backend: KubernetesBackend, words: str) -> None:
    server.answers["POST one/jobs"] = status(403, "Forbidden", f'jobs "a" is forbidden: {words}')
    with pytest.raises(CommandUnfit, match="quota") as unfit:
        backend.submit(a_spec(tenant="acme"))
    assert unfit.value.error_class == "QUOTA_EXCEEDED"


def test_the_job_that_fills_its_quota_is_adopted(server: Server, backend: KubernetesBackend) -> None:
    """The API server judges the quota before the name: a command that comes again is refused for the Job that it made itself."""
    spec = a_spec(tenant="acme")
    server.jobs["one"].append(a_job("one", "acme", spec))
    server.answers["POST one/jobs"] = FULL
    assert backend.submit(spec).adopted
