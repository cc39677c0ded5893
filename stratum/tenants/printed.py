"""`create --print`: what somebody who keeps everything in a repository puts there. No secret is in it."""

import json
from typing import Any

import yaml

from contracts.bucket_policy import runs_policy
from stratum.tenants import manifests
from stratum.tenants.manifests import ACCESS_KEY, API_KEY, SECRET_KEY, Names
from stratum.tenants.storage_keys import Source
from stratum.tenants.wish import Wish


def text(of: Names, wish: Wish, source: Source) -> str:
    """Values, manifests and policy as text, for people to take apart."""
    documents = [_namespace(of), _api_key(of)]
    if source.kind != "existing":
        documents.append(_storage_keys(of))
    return "".join(
        (
            "# For the values of the chart: one item more under `tenants`.\n",
            _yaml({"tenants": [manifests.entry(of, wish, source.secret)]}),
            *(f"---\n{document}" for document in documents),
            f"# Policy of the storage keys, for {wish.root.uri}:\n",
            "".join(f"# {line}\n" for line in json.dumps(runs_policy(wish.root), indent=2).splitlines()),
        )
    )


def document(of: Names, wish: Wish, source: Source) -> dict[str, Any]:
    """The same as one JSON document."""
    made = [manifests.namespace_manifest(of), manifests.api_key_manifest(of, "", {})]
    if source.kind != "existing":
        made.append(manifests.storage_keys_manifest(of, "", "", {}))
    return {"values": {"tenants": [manifests.entry(of, wish, source.secret)]}, "manifests": made, "policy": runs_policy(wish.root)}


def _namespace(of: Names) -> str:
    return _yaml(manifests.namespace_manifest(of))


def _api_key(of: Names) -> str:
    words = f"{API_KEY}: in base64, at least 24 random characters, such as of `openssl rand -hex 32`."
    return f"# Empty on purpose: filled by what keeps your secrets. {words}\n" + _yaml(manifests.api_key_manifest(of, "", {}))


def _storage_keys(of: Names) -> str:
    words = f"{ACCESS_KEY}, {SECRET_KEY}: in base64, of a user with the policy below."
    return f"# Empty on purpose: filled by what keeps your secrets. {words}\n" + _yaml(manifests.storage_keys_manifest(of, "", "", {}))


def _yaml(found: Any) -> str:
    return yaml.safe_dump(found, sort_keys=False, width=140, allow_unicode=True)
