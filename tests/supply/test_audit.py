"""An audit that did not take place is never a clean one."""

import json
import os
import subprocess
import sys

import pytest

from deploy.supply.audit import CLEAN, NOT_ASKED, ROOT, VULNERABLE, verdict

NOTHING = {"dependencies": [{"name": "a", "version": "1", "vulns": []}], "fixes": []}
SOMETHING = {"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}], "fixes": []}


@pytest.mark.parametrize(
    ("code", "output", "expected"),
    [
        (0, json.dumps(NOTHING), CLEAN),
        (1, json.dumps(SOMETHING), VULNERABLE),
        (0, json.dumps(SOMETHING), VULNERABLE),
        (1, json.dumps(NOTHING), NOT_ASKED),
        (1, "", NOT_ASKED),
        (0, "", NOT_ASKED),
        (0, '{"dependencies": []}', NOT_ASKED),
        (0, "[]", NOT_ASKED),
        (0, '{"dependencies": [{"name": "a", "skip_reason": "no service"}]}', NOT_ASKED),
    ],
)
def test_verdicts(code: int, output: str, expected: int) -> None:
    assert verdict(code, output, "") == expected


def test_what_is_found_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    verdict(1, json.dumps(SOMETHING), "")
    assert "a 1: PYSEC-1, mended in 2" in capsys.readouterr().out


def test_without_the_service_it_says_that_nothing_was_asked() -> None:
    # a proxy that is not there stands for a network without the service
    nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), "http://127.0.0.1:9")
    environment = os.environ | nowhere | {"NO_PROXY": "", "no_proxy": ""}
    run = subprocess.run([sys.executable, "-m", "deploy.supply.audit"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == NOT_ASKED, run.stdout + run.stderr
    assert "NOT DONE" in run.stderr
    assert run.stdout == ""
