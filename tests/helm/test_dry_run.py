"""A real API server takes every manifest: no unknown field, no wrong type, nothing that Pod Security would warn of."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.helm.chart import CI, NAMESPACE, Manifest, of_kind, rendered

pytestmark = pytest.mark.cluster

FOREIGN = {"HTTPRoute", "ScaledObject", "ServiceMonitor"}
"""Kinds that others bring: a cluster without them cannot judge them."""


def _kubectl(*arguments: str, given: Manifest | None = None) -> subprocess.CompletedProcess[str]:
    text = json.dumps(given) if given else None
    return subprocess.run(["kubectl", *arguments], input=text, capture_output=True, text=True, timeout=120, check=False)


def _list(items: list[Manifest]) -> Manifest:
    return {"apiVersion": "v1", "kind": "List", "items": items}


@pytest.fixture(scope="module", autouse=True)
def places() -> Iterator[None]:
    """The namespaces and accounts that the manifests speak of: a dry run does not make them for those that follow."""
    everywhere = [each for name in CI for each in rendered(name)]
    names = sorted({each["metadata"]["namespace"] for each in everywhere if "namespace" in each["metadata"]})
    enforced = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
    namespaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": enforced}} for name in names]
    made = _kubectl("create", "--save-config", "-f", "-", given=_list(namespaces))
    assert made.returncode == 0, made.stderr
    accounts = {
        each["metadata"]["name"]: each
        for each in of_kind(tuple(everywhere), "ServiceAccount")
        if each["metadata"]["namespace"] == NAMESPACE
    }
    made = _kubectl("apply", "-f", "-", given=_list(list(accounts.values())))
    assert made.returncode == 0, made.stderr
    yield
    _kubectl("delete", "namespace", "--wait=false", *names)


@pytest.mark.parametrize("upgrade", [False, True], ids=["install", "upgrade"])
@pytest.mark.parametrize("values", CI)
def test_every_manifest_is_taken(values: str, upgrade: bool) -> None:
    manifests = rendered(values, upgrade=upgrade)
    known = [each for each in manifests if each["kind"] not in FOREIGN]
    done = _kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", given=_list(known))
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "no warnings"
    assert len(done.stdout.splitlines()) == len(known)
    assert {each["kind"] for each in manifests} & FOREIGN == (FOREIGN if values == "everything" else set())


def test_a_misspelt_field_would_be_refused() -> None:
    (wrong,) = [
        json.loads(json.dumps(each)) for each in of_kind(rendered("external"), "Service") if each["metadata"]["name"].endswith("-api")
    ]
    wrong["spec"]["sellector"] = {}
    done = _kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", given=wrong)
    assert done.returncode != 0
    assert "sellector" in done.stderr
