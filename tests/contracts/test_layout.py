"""The storage layout: the very keys of the specification."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from contracts.command import StorageRootUri
from contracts.errors import ContractError
from contracts.identifiers import IDENTIFIER_PATTERN
from contracts.layout import PREFIX_PATTERN, StorageRoot

identifiers = st.from_regex(IDENTIFIER_PATTERN.replace("$", r"\Z"), fullmatch=True).filter(lambda text: len(text) <= 128)
PROCESS = UUID("0192614e-6f00-7a3c-9b1d-5e8f2a4c7d10")


@pytest.mark.parametrize(
    ("uri", "root", "again"),
    [
        ("s3://stratum", StorageRoot("stratum"), "s3://stratum"),
        ("s3://stratum/", StorageRoot("stratum"), "s3://stratum"),
        ("s3a://stratum/acme", StorageRoot("stratum", "acme/"), "s3://stratum/acme"),
        ("s3://stratum/a/b/", StorageRoot("stratum", "a/b/"), "s3://stratum/a/b"),
    ],
)
def test_roots(uri: str, root: StorageRoot, again: str) -> None:
    assert StorageRoot.parse(uri) == root
    assert root.uri == again
    assert StorageRoot.parse(root.uri) == root


@pytest.mark.parametrize("uri", ["", "stratum", "s3:///acme", "file:///tmp", "http://stratum/acme", "s3:stratum"])
def test_no_root(uri: str) -> None:
    with pytest.raises(ContractError, match=r"s3://bucket/prefix"):
        StorageRoot.parse(uri)


NO_PREFIXES = ["acme", "/acme/", "/", "a//b/", "./", "../b/", "a/.../", "my data/", "tenant=acme/", "acme\n/", "é/"]
WILDCARDS = ["*/", "a*/", "a/?/", "${aws:username}/", "a/$b/"]


@pytest.mark.parametrize("prefix", [*NO_PREFIXES, *WILDCARDS])
def test_no_prefix(prefix: str) -> None:
    with pytest.raises(ContractError, match="prefix"):
        StorageRoot("stratum", prefix)


@pytest.mark.parametrize("prefix", WILDCARDS)
@pytest.mark.parametrize("end", ["", "/"])
def test_no_root_means_others_data_in_a_policy(prefix: str, end: str) -> None:
    """Read from a URI, too, where `?` and what follows it would be a query."""
    with pytest.raises(ContractError, match="prefix"):
        StorageRoot.parse(f"s3://lake/{prefix.removesuffix('/')}{end}")


@pytest.mark.parametrize("bucket", ["", "ab", "Lake", "lake*", "la?ke", "$lake", "lake\n", "-lake"])
def test_no_bucket(bucket: str) -> None:
    with pytest.raises(ContractError, match="bucket"):
        StorageRoot(bucket)


@given(st.from_regex(PREFIX_PATTERN.replace("$", r"\Z"), fullmatch=True))
def test_every_root_goes_into_a_command_and_comes_back(prefix: str) -> None:
    root = StorageRoot("stratum", prefix)
    assert StorageRoot.parse(TypeAdapter(StorageRootUri).validate_python(root.uri)) == root


def test_the_keys_of_the_specification() -> None:
    path = StorageRoot("stratum", "acme/").dataset("cust_8842", "v2024.10.05", "aggregate_revenue")
    assert path.prefix == "acme/cust_8842/v2024.10.05/aggregate_revenue/"
    assert path.manifest_key == "acme/cust_8842/v2024.10.05/aggregate_revenue/_manifest.json"
    assert path.run_prefix("r1") == "acme/cust_8842/v2024.10.05/aggregate_revenue/r1/"
    assert path.proposal_key("r1") == "acme/cust_8842/v2024.10.05/aggregate_revenue/r1/_proposal.json"
    assert path.uri(path.manifest_key) == "s3://stratum/acme/cust_8842/v2024.10.05/aggregate_revenue/_manifest.json"
    assert path.root.log_prefix(PROCESS, 0, 1) == f"acme/_logs/{PROCESS}/0/1/"


@given(identifiers, identifiers, identifiers, identifiers)
def test_names_stay_in_their_folder(entity: str, version: str, dataset: str, run: str) -> None:
    path = StorageRoot("stratum", "acme/").dataset(entity, version, dataset)
    assert path.proposal_key(run).split("/") == ["acme", entity, version, dataset, run, "_proposal.json"]
    assert not path.prefix.startswith(path.root.log_prefix(PROCESS, 0, 1).split("_logs")[0] + "_logs")
    assert path.run_prefix(run) != path.manifest_key


@given(st.tuples(identifiers, identifiers, identifiers), st.tuples(identifiers, identifiers, identifiers))
def test_no_dataset_lies_inside_another(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    root = StorageRoot("stratum")
    if one != other:
        assert not root.dataset(*one).prefix.startswith(root.dataset(*other).prefix)
