"""The application that a driver's JVM starts: runs the module named by the first argument, as `python -m` would."""

import os
import runpy
import sys
from pathlib import Path

# the entrypoint passes a request to end on to this process alone
Path(os.environ["STRATUM_DRIVER_PID_FILE"]).write_text(str(os.getpid()), encoding="ascii")
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
