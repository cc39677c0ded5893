"""`stratum ingest` against an object store that stands still: it says so soon, and ends without leaving anything when it is told to."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.client.conftest import Reply, ScriptedServer
from tests.e2e.platform import wait_for


def test_a_frozen_store_is_told_of_and_sigterm_leaves_nothing(server: ScriptedServer, tmp_path: Path) -> None:
    rows, folder, told = tmp_path / "rows.csv", tmp_path / "temporary", tmp_path / "told"
    rows.write_text("a,b\n1,2\n")
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as frozen, told.open("wb") as output:  # connections are made, and nobody reads them
        target = {"name": "part-00000.parquet", "url": f"http://127.0.0.1:{frozen.getsockname()[1]}/x", "headers": {}}
        upload = {"upload_id": "01a20065-f2df-71c8-870b-06a65fa44268", "expires_at": "2100-01-01T00:00:00Z", "files": [target]}
        nothing = {"type": "urn:stratum:problem:not-found", "title": "Not found", "status": 404, "detail": "There is none."}
        server.answers(Reply(404, nothing), Reply(201, upload))
        environment = {**os.environ, "STRATUM_URL": server.url, "STRATUM_TOKEN": "t", "TMPDIR": str(folder)}
        argv = [str(Path(sys.executable).with_name("stratum")), "ingest", "e", "v", str(rows)]
        process = subprocess.Popen(argv, env=environment, stdout=output, stderr=output)
        try:
            wait_for(lambda: b"Trying again" in told.read_bytes(), 60, lambda: "word of the trouble")
            assert b"object store" in told.read_bytes()
            assert [path.name.startswith("stratum-ingest-") for path in folder.iterdir()] == [True]
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 128 + signal.SIGTERM
            assert list(folder.iterdir()) == []
        finally:
            process.kill()
            process.wait()
