"""`python -m contracts generate | check`: the files made from the models."""

import argparse
import sys

from contracts.generate import REPOSITORY, stale_files, write


def main() -> int:
    """Return the exit code: 1 when `check` finds stale files."""
    parser = argparse.ArgumentParser(prog="python -m contracts", description="JSON Schemas, AsyncAPI document and state reference.")
    parser.add_argument("command", choices=("generate", "check"), help="write what is stale; or only name it, and exit with 1")
    if parser.parse_args().command == "generate":
        for name in write(REPOSITORY):
            print(f"wrote {name}")
        return 0
    stale = stale_files(REPOSITORY)
    for name in stale:
        print(f"stale: {name}", file=sys.stderr)
    if stale:
        print("mend with: python -m contracts generate", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
