"""`python -m contracts generate | check`: the files made from the models. `policy`: what a store lets whom do."""

import argparse
import json
import sys

from contracts.bucket_policy import control_plane_policy, runs_policy
from contracts.errors import ContractError
from contracts.generate import REPOSITORY, stale_files, write
from contracts.layout import StorageRoot

_POLICIES = {"runs": runs_policy, "control-plane": control_plane_policy}


def main() -> int:
    """Return the exit code: 1 when `check` finds stale files, 2 for a root that is none."""
    parser = argparse.ArgumentParser(prog="python -m contracts", description="What is made from the models and the storage layout.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("generate", help="write the JSON Schemas, the AsyncAPI document and the state reference that are stale")
    commands.add_parser("check", help="only name what is stale, and exit with 1")
    policy = commands.add_parser("policy", help="print an object store's policy (IAM) for one tenant's root")
    policy.add_argument("whose", choices=_POLICIES, help="whose keys it is for")
    policy.add_argument("root", help="s3://bucket or s3://bucket/prefix")
    arguments = parser.parse_args()
    match arguments.command:
        case "generate":
            return _generate()
        case "check":
            return _check()
        case _:
            return _print_policy(arguments.whose, arguments.root)


def _generate() -> int:
    for name in write(REPOSITORY):
        print(f"wrote {name}")
    return 0


def _check() -> int:
    stale = stale_files(REPOSITORY)
    for name in stale:
        print(f"stale: {name}", file=sys.stderr)
    if stale:
        print("mend with: python -m contracts generate", file=sys.stderr)
    return 1 if stale else 0


def _print_policy(whose: str, root: str) -> int:
    try:
        document = _POLICIES[whose](StorageRoot.parse(root))
    except ContractError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(document, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
