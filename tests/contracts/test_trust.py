"""The file of trusted authorities that a process makes for its clients."""

import subprocess
import sys
from pathlib import Path

import certifi

PROGRAM = """
from pathlib import Path
from contracts.trust import trusted_file
path = trusted_file(Path({bundle!r}))
print(path, path.stat().st_mode & 0o777 == 0o600, Path({bundle!r}).read_text() in path.read_text())
"""


def test_it_goes_with_the_process(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text(Path(certifi.where()).read_text(encoding="utf-8")[-2000:])
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(bundle=str(bundle))], capture_output=True, text=True, check=True)
    path, private, holds = done.stdout.split()
    assert (private, holds) == ("True", "True")
    assert not Path(path).exists()
