"""A small real program that stands where the driver stands: it reads the command file and behaves as `parameters` says."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def main() -> int:
    command = json.loads(Path(sys.argv[1]).read_bytes())
    parameters = command["parameters"]
    started = Path(parameters["started_file"]) if "started_file" in parameters else None
    if parameters.get("ignore_sigterm"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if parameters.get("helper"):
        # like a PySpark worker: a process group of its own, in the same session
        subprocess.Popen([sys.executable, "-c", "import os, time; os.setpgid(0, 0); time.sleep(600)"])
    for line in parameters.get("lines", ["hello"]):
        print(line, flush=True)
    if started is not None:
        with started.open("a", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")
    hoard = b"x" * (parameters.get("allocate_mebibytes", 0) * 2**20)
    if "fill" in parameters:
        Path(parameters["fill"]).write_bytes(b"x" * 64 * 2**20)
    until = parameters.get("until_file")
    deadline = time.monotonic() + parameters.get("seconds", 0)
    while time.monotonic() < deadline and not (until and Path(until).exists()):
        time.sleep(0.02)
    if parameters.get("signal"):
        os.kill(os.getpid(), parameters["signal"])
    del hoard
    return parameters.get("exit_code", 0)


if __name__ == "__main__":
    sys.exit(main())
