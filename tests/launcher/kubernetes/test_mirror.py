"""What watches and lists leave behind."""

from typing import Any

from launcher.kubernetes.mirror import JobKey, Mirror, newest

KEY = JobKey("one", "a")


def a_job(name: str = "a", uid: str = "1", namespace: str = "one") -> dict[str, Any]:
    return {"metadata": {"namespace": namespace, "name": name, "uid": uid}}


def a_pod(job: str = "a", uid: str = "p", created: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    labels = {"batch.kubernetes.io/job-name": job}
    return {"metadata": {"namespace": "one", "name": uid, "uid": uid, "labels": labels, "creationTimestamp": created}}


def test_each_change_is_taken_once() -> None:
    mirror = Mirror()
    mirror.apply("job", "ADDED", a_job())
    mirror.apply("pod", "ADDED", a_pod())
    assert mirror.take_changed() == [(a_job(), a_pod())]
    assert mirror.take_changed() == []


def test_pod_that_goes_is_remembered_as_long_as_its_job() -> None:
    mirror = Mirror()
    mirror.apply("job", "ADDED", a_job())
    mirror.apply("pod", "ADDED", a_pod())
    mirror.apply("pod", "DELETED", {**a_pod(), "status": {"phase": "Failed"}})
    assert mirror.take_changed() == [(a_job(), {**a_pod(), "status": {"phase": "Failed"}})]
    mirror.apply("job", "DELETED", a_job())
    mirror.apply("job", "ADDED", a_job(uid="2"))
    assert mirror.take_changed() == [(a_job(uid="2"), None)]


def test_pod_that_is_seen_before_its_job() -> None:
    mirror = Mirror()
    mirror.apply("pod", "ADDED", a_pod())
    assert mirror.take_changed() == []
    mirror.apply("job", "ADDED", a_job())
    assert mirror.take_changed() == [(a_job(), a_pod())]


def test_what_a_list_lacks_is_gone() -> None:
    mirror = Mirror()
    mirror.replace("job", "one", [a_job("a", "1"), a_job("b", "2")])
    mirror.replace("job", "two", [a_job("c", "3", "two")])
    mirror.take_changed()
    mirror.replace("job", "one", [a_job("b", "2")])
    assert mirror.take_gone() == [(a_job("a", "1"), None)]
    assert mirror.take_gone() == []


def test_job_made_anew_is_another() -> None:
    mirror = Mirror()
    mirror.apply("job", "ADDED", a_job(uid="1"))
    mirror.replace("job", "one", [a_job(uid="2")])
    assert mirror.take_gone() == [(a_job(uid="1"), None)]
    assert mirror.take_changed() == [(a_job(uid="2"), None)]


def test_late_word_of_a_deleted_job_does_not_touch_its_successor() -> None:
    mirror = Mirror()
    mirror.apply("job", "ADDED", a_job(uid="2"))
    mirror.apply("job", "DELETED", a_job(uid="1"))
    assert mirror.take_gone() == []
    assert mirror.take_changed() == [(a_job(uid="2"), None)]


def test_newest_pod_counts() -> None:
    old, new = a_pod(uid="old", created="2026-01-01T00:00:00Z"), a_pod(uid="new", created="2026-01-01T00:00:09Z")
    assert newest([new, old]) == new
    assert newest([]) is None
