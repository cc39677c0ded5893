"""What is asked for of a tenant is judged before anything is touched."""

from typing import Any

import pytest

from stratum.errors import Invalid
from stratum.tenants import wish
from stratum.tenants.wish import Limits, Wish

GOOD: dict[str, Any] = {"name": "acme", "bucket": "lake", "prefix": "acme/", "namespace": "stratum-acme"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Acme"},
        {"name": "-acme"},
        {"name": "a" * 41},
        {"name": "acme\n"},
        {"bucket": "ab"},
        {"bucket": "Lake"},
        {"bucket": "lake/x"},
        {"prefix": "acme"},
        {"prefix": "/acme/"},
        {"prefix": "*/"},
        {"prefix": "a/?/"},
        {"prefix": "${aws:username}/"},
        {"prefix": "a//b/"},
        {"prefix": "../b/"},
        {"prefix": "_logs/"},
        {"namespace": "Stratum"},
        {"namespace": "a.b"},
    ],
    ids=str,
)
def test_what_is_no_name_or_would_mean_others_data_in_a_policy(wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        Wish(**{**GOOD, **wrong})


@pytest.mark.parametrize("prefix", ["", "acme/", "a.b/c_d-2/"])
def test_prefixes(prefix: str) -> None:
    assert Wish(**{**GOOD, "prefix": prefix}).root.prefix == prefix


def test_limits() -> None:
    assert [wish.limit("--max-held", text) for text in (None, "none", "7", str(2**53 - 1))] == [None, "none", 7, 2**53 - 1]
    for text in ("0", "-1", "1.5", "many", "", "1e9", str(2**53), "٣"):
        with pytest.raises(Invalid, match="--max-held"):
            wish.limit("--max-held", text)
    assert Limits(5, "none", None, 9).values() == {"maxInFlight": 5, "maxHeld": "none", "maxStoredBytes": 9}


def test_quota() -> None:
    assert wish.quota({"requests.cpu": "40", "requests.memory": "200Gi", "pods": "100", "count/jobs.batch": "500m"})
    for pairs in ({"requests.cpu": "many"}, {"requests.cpu": "none"}, {"": "1"}, {"a b": "1"}):
        with pytest.raises(Invalid, match="--quota"):
            wish.quota(pairs)
    assert wish.quota({"pods": "none"}, may_end=True)
