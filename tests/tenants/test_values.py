"""Tenants in the values of a release: found, changed in copies, and refused where they would be somebody else's too."""

from copy import deepcopy
from typing import Any

import pytest

from stratum.errors import Conflict, Invalid, NotFound
from stratum.tenants import listed, manifests, printed, remove, storage_keys, values
from stratum.tenants.manifests import Names
from stratum.tenants.storage_keys import Source, source
from stratum.tenants.storage_user import StorageKeys
from stratum.tenants.values import Release
from stratum.tenants.wish import Limits, Wish

GLOBEX: dict[str, Any] = {
    "name": "globex", "bucket": "lake", "prefix": "globex/", "apiKey": {"existingSecret": {"name": "globex-key"}},
    "s3": {"existingSecret": {"name": "store"}}, "quota": {"pods": "50"},
}  # fmt: skip
VALUES: dict[str, Any] = {"clusterName": "north", "tenants": [GLOBEX], "s3": {"endpoint": "https://s3.example"}}
RELEASE = Release("stratum", "stratum", VALUES)
DEV = Release("stratum", "platform", {"dev": {"enabled": True}})
ACME = Wish("acme", "lake", "acme/", "stratum-acme", Limits(50, 200, "none", None), {"pods": "9"}, queue="batch", allowed_images=("a/b:1",))
OF = manifests.names(RELEASE, ACME)


def test_a_tenant_more() -> None:
    before = deepcopy(VALUES)
    entry = manifests.entry(OF, ACME, "stratum-storage")
    assert entry == {
        "name": "acme",
        "bucket": "lake",
        "prefix": "acme/",
        "namespace": "stratum-acme",
        "createNamespace": False,
        "apiKey": {"existingSecret": {"name": "stratum-tenant-acme", "key": "api-key"}},
        "s3": {"existingSecret": {"name": "stratum-storage", "accessKeyKey": "access-key", "secretKeyKey": "secret-key"}},
        "maxInFlight": 50,
        "maxHeld": 200,
        "maxExecutorCores": "none",
        "quota": {"pods": "9"},
        "queue": "batch",
        "allowedImages": ["a/b:1"],
    }
    more = RELEASE.with_tenant(entry)
    assert [each["name"] for each in more["tenants"]] == ["globex", "acme"]
    assert {**more, "tenants": [GLOBEX]} == VALUES, "nothing else is touched"
    assert before == VALUES, "a copy"
    after = Release("stratum", "stratum", more)
    assert after.with_tenant(entry) == more, "in its place, not once more"
    assert after.without_tenant("acme") == VALUES


def test_the_same_again_and_something_else() -> None:
    entry = manifests.entry(OF, ACME, "stratum-storage")
    there = Release("stratum", "stratum", RELEASE.with_tenant(entry)).tenant("acme")
    values.require_same(there, entry)
    values.require_same(there, {**entry, "prefix": "acme/"})
    values.require_same(there, {name: entry[name] for name in ("name", "bucket", "prefix", "namespace")})
    with pytest.raises(Conflict, match="prefix 'acme/', not 'other/'"):
        values.require_same(there, {**entry, "prefix": "other/"})
    with pytest.raises(Conflict, match="maxInFlight 50, not 51"):
        values.require_same(there, {**entry, "maxInFlight": 51})


@pytest.mark.parametrize("prefix", ["", "globex/", "globex/inside/"])
def test_no_storage_inside_of_anothers(prefix: str) -> None:
    with pytest.raises(Conflict, match="lie inside one another"):
        values.require_room(RELEASE, Wish("acme", "lake", prefix, "stratum-acme"))


def test_room() -> None:
    values.require_room(RELEASE, ACME)
    values.require_room(RELEASE, Wish("acme", "lake", "globex-2/", "stratum-acme"))
    values.require_room(RELEASE, Wish("acme", "pond", "globex/", "stratum-acme"))
    with pytest.raises(Conflict, match="of tenant 'globex'"):
        values.require_room(RELEASE, Wish("acme", "lake", "acme/", "stratum-globex"))
    with pytest.raises(Conflict, match="own namespace"):
        values.require_room(RELEASE, Wish("acme", "lake", "acme/", "stratum"))
    with pytest.raises(Conflict, match="of tenant 'local'"):
        values.require_room(DEV, Wish("acme", "stratum", "acme/", "platform-acme"))


def test_limits() -> None:
    changed = RELEASE.with_limits("globex", Limits(max_held="none", max_stored_bytes=10**12), {"pods": "none", "requests.cpu": "4"})
    (entry,) = changed["tenants"]
    assert entry == {**GLOBEX, "maxHeld": "none", "maxStoredBytes": 10**12, "quota": {"requests.cpu": "4"}}
    assert RELEASE.with_limits("globex", Limits(), {"pods": "50"}) == VALUES
    with pytest.raises(NotFound, match="It has: globex"):
        RELEASE.with_limits("acme", Limits(5), {})
    with pytest.raises(Conflict, match=r"dev\.enabled"):
        DEV.with_limits("local", Limits(5), {})
    foreign = Release("stratum", "stratum", {"tenants": [{name: value for name, value in GLOBEX.items() if name != "apiKey"}]})
    with pytest.raises(Conflict, match="control_plane provision --tenant globex"):
        foreign.with_limits("globex", Limits(5), {})
    assert foreign.with_limits("globex", Limits(), {"pods": "1"})["tenants"][0]["quota"] == {"pods": "1"}


def test_listed() -> None:
    (found,) = listed.tenants(RELEASE)
    assert found == {
        "name": "globex", "namespace": "stratum-globex", "bucket": "lake", "prefix": "globex/", "max_in_flight": 1000, "max_held": None,
        "max_executor_cores": None, "max_stored_bytes": None, "quota": {"pods": "50"}, "queue": None, "priority_class": None,
        "allowed_images": None, "from": "values",
    }  # fmt: skip
    (dev,) = listed.tenants(DEV)
    assert (dev["name"], dev["namespace"], dev["bucket"], dev["from"]) == ("local", "platform-local", "stratum", "dev.enabled")


@pytest.mark.parametrize(
    ("release", "given", "fullname"),
    [
        ("stratum", {}, "stratum"),
        ("prod", {}, "prod-stratum"),
        ("my-stratum-2", {}, "my-stratum-2"),
        ("prod", {"nameOverride": "core"}, "prod-core"),
        ("prod", {"fullnameOverride": "platform"}, "platform"),
        ("a" * 39, {}, "a" * 39),
    ],
)
def test_what_the_charts_objects_are_called(release: str, given: dict[str, Any], fullname: str) -> None:
    assert Release(release, "stratum", given).fullname == fullname


def test_the_origin_of_storage_keys() -> None:
    given = StorageKeys("AKIA", "secret")
    assert source(None, True, None, None, None).kind == "minio"
    assert source("minio", False, "root", "https://minio", None) == Source("minio", admin_secret="root", admin_endpoint="https://minio")
    assert source("existing:mine", False, None, None, None) == Source("existing", "mine")
    assert source("given", False, None, None, given).keys == given
    assert "secret'" not in repr(given)
    with pytest.raises(Invalid, match="minio, aws, existing:SECRET or given"):
        source(None, False, None, None, None)
    for choice in ("gcs", "existing", "existing:", "minio:x", "given"):
        with pytest.raises(Invalid):
            storage_keys.source(choice, True, None, None, None)
    with pytest.raises(Invalid, match="belong to"):
        source("aws", False, None, None, given)


def test_what_is_printed_holds_no_secret_and_would_not_work_unfilled() -> None:
    found = printed.document(OF, ACME, Source("minio"))
    namespace, api_key, storage = found["manifests"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert (api_key["metadata"]["namespace"], api_key["data"]) == ("stratum", {"api-key": ""})
    assert (storage["metadata"]["namespace"], storage["data"]) == ("stratum-acme", {"access-key": "", "secret-key": ""})
    assert found["values"] == {"tenants": [manifests.entry(OF, ACME, "stratum-storage")]}
    text = printed.text(OF, ACME, Source("existing", "mine"))
    assert "name: mine" in text
    assert text.count("\n---\n") == 2
    assert "arn:aws:s3:::lake/acme/*" in text


def test_a_removal_that_was_cut_off_is_known_by_its_record() -> None:
    record = manifests.record(ACME, "minio", "user", "root", None)
    assert remove._source(record) == Source("minio", admin_secret="root")
    assert remove._root(record) == ACME.root
    assert remove._source({}) is None


def test_names_are_of_the_release() -> None:
    assert Names("b", "prod", "acme", "n").storage_user == "prod.b.acme"
    long = [Names("b" * 53, "n" * 40, tenant, "n").storage_user for tenant in ("acme", "acne")]
    assert [len(name) for name in long] == [64, 64]
    assert long[0] != long[1]
