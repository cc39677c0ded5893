"""`python -m deploy.supply.audit`: what is known to be wrong with the packages that `uv.lock` names.

pip-audit asks an advisory service on the network. Whether it cannot be asked or finds something, the exit code says so: an audit
that did not take place is never a clean one. Exit codes: 0 nothing is known, 1 something is, 2 it could not be asked.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
_EXPORT = ("export", "--frozen", "--all-extras", "--all-groups", "--no-emit-project", "--format", "requirements-txt", "--quiet")
CLEAN, VULNERABLE, NOT_ASKED = 0, 1, 2


def audit() -> int:
    """Ask, tell on standard output and error, and return the exit code."""
    folder = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as scratch:
        requirements = Path(scratch) / "requirements.txt"
        subprocess.run([folder / "uv", *_EXPORT, "--output-file", requirements], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        # --disable-pip: the lock is complete, nothing is to be resolved; --strict: a package that cannot be asked about is a failure
        command = [folder / "pip-audit", "--requirement", requirements, "--disable-pip", "--require-hashes", "--strict", "--format", "json"]
        answer = subprocess.run([*command, "--progress-spinner", "off"], cwd=scratch, check=False, capture_output=True, text=True)
    return verdict(answer.returncode, answer.stdout, answer.stderr)


def verdict(code: int, output: str, complaint: str) -> int:
    """Judge pip-audit's answer: only a whole report counts, for its exit code is 1 for findings and for failures alike."""
    try:
        packages = json.loads(output)["dependencies"]
        found = {f"{each['name']} {each['version']}": each["vulns"] for each in packages if each["vulns"]}
    except (ValueError, KeyError, TypeError):
        packages, found = [], {}
    if not packages or (code != 0 and not found):
        reason = (complaint.strip().splitlines() or ["it gave no report"])[-1]
        print(
            "audit: NOT DONE: the advisory service could not be asked, or not about everything."
            f"\naudit: Run it where https://pypi.org can be reached.\naudit: pip-audit said: {reason}",
            file=sys.stderr,
        )
        return NOT_ASKED
    for package, advisories in found.items():
        for advisory in advisories:
            print(f"{package}: {advisory['id']}, mended in {', '.join(advisory['fix_versions']) or 'no version yet'}")
    print(f"audit: {len(packages)} packages asked about, {len(found)} with known vulnerabilities")
    return VULNERABLE if found else CLEAN


if __name__ == "__main__":
    sys.exit(audit())
