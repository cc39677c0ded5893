"""Inside a build: run a driver and an executor once, so that they write down which classes they load.

The object store is real, and so are the driver, its entrypoint, and the executor that it asks for. What a build lacks, Kubernetes and the
control plane, is stood in for by a small HTTP server, which starts the executor as a process here.
"""

import base64
import hashlib
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.command import Command, DatasetName, InputDataset
from contracts.identifiers import new_id
from contracts.layout import StorageRoot
from contracts.manifest import Manifest, schema_fingerprint
from contracts.proposal import Column, DataFile
from contracts.spark_conf import spark_conf
from stratum.local.ports import settle_ports
from stratum.local.seaweed import PORT_FLAGS, Seaweed
from stratum.local.supervisor import NotReady

CLASSES = Path("/build/classes")
"""One file a JVM."""
ENTRYPOINT = "/opt/stratum/bin/entrypoint"
DRIVER_POD, NAMESPACE = "training", "training"
DRIVER = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": DRIVER_POD, "namespace": NAMESPACE, "uid": str(uuid4()), "resourceVersion": "1"},
    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
}
ROOT = StorageRoot("training", "")
WEBSOCKET = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What RFC 6455 adds to a client's key."""
ENTITY, VERSION = "training", "v1"
QUERY = """
    WITH ranked AS (
        SELECT a.origin, a.day, a.delay, row_number() OVER (PARTITION BY a.origin ORDER BY a.delay DESC, a.day) AS place
        FROM source a JOIN source b ON a.day = b.day AND a.origin <> b.origin
    )
    SELECT origin, count(*) AS flights, sum(cast(delay AS decimal(18, 2))) AS delay, max(day) AS last, min(upper(origin)) AS name
    FROM ranked WHERE place < 100 GROUP BY origin ORDER BY origin
"""


class Executors:
    """The pods that Spark asked for, as processes of this machine."""

    def __init__(self) -> None:
        self.pods: dict[str, dict[str, Any]] = {}
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, pod: dict[str, Any]) -> dict[str, Any]:
        """Start what the container of the pod would."""
        name = pod["metadata"]["name"]
        container = pod["spec"]["containers"][0]
        fields = {"status.podIP": "127.0.0.1", "metadata.name": name}
        environment = {
            each["name"]: fields[each["valueFrom"]["fieldRef"]["fieldPath"]] if "valueFrom" in each else each.get("value", "")
            for each in container["env"]
        }
        own = {"SPARK_LOCAL_DIRS": "/build/executor", "SPARK_LOCAL_IP": "127.0.0.1", "JAVA_TOOL_OPTIONS": _dump(name)}
        self.processes.append(subprocess.Popen([ENTRYPOINT, *container["args"]], env={**os.environ, **environment, **own}))
        pod["metadata"] |= {"uid": str(uuid4()), "resourceVersion": "1"}
        pod["status"] = {"phase": "Running"}
        self.pods[name] = pod
        return pod


def _dump(name: str) -> str:
    return f"-XX:DumpLoadedClassList={CLASSES}/{name}"


def stand_in(executors: Executors) -> ThreadingHTTPServer:
    """A server that answers Spark as Kubernetes would, and reports of the run as the control plane would."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            if address.path.endswith(f"/pods/{DRIVER_POD}"):
                self._answer(DRIVER)
            elif "watch" in parse_qs(address.query):
                self._watch()
            else:
                pods = [DRIVER] if "fieldSelector" in parse_qs(address.query) else list(executors.pods.values())
                self._answer({"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": pods})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if self.path == "/callback":
                self._answer(
                    {
                        "run_token": "token",
                        "expires_at": "2100-01-01T00:00:00Z",
                        "heartbeat_seconds": 1.0,
                        "storage_root": ROOT.uri,
                        "state": "started",
                    }
                )
            elif self.path.partition("?")[0].endswith("/pods"):
                self._answer(executors.start(body))
            else:
                self._answer(body)

        def do_DELETE(self) -> None:
            self._answer({"apiVersion": "v1", "kind": "Status", "status": "Success"})

        def _watch(self) -> None:
            """A WebSocket on which nothing is said until the client goes."""
            key = self.headers["sec-websocket-key"] + WEBSOCKET
            self.send_response(101)
            self.send_header("upgrade", "websocket")
            self.send_header("connection", "upgrade")
            self.send_header("sec-websocket-accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())  # noqa: S324
            self.end_headers()
            with suppress(OSError):
                self.rfile.read()
            self.close_connection = True

        def _answer(self, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return server


def start_store() -> tuple[Seaweed, subprocess.Popen[bytes]]:
    """An S3 server that answers."""
    folder = Path("/build/s3")
    folder.mkdir(parents=True)
    store = Seaweed(folder, settle_ports({}, PORT_FLAGS, print), "key", "secret", "internal")
    store.prepare()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(store.program().argv, cwd=folder, stdout=log, stderr=log)
    for _ in range(120):
        with suppress(NotReady):
            store.check()
            store.create_bucket(ROOT.bucket)
            return store, process
        time.sleep(1)
    sys.exit("the object store does not start: " + (folder / "log").read_text(errors="replace")[-2000:])


def seal_input(store: Seaweed) -> InputDataset:
    """A small dataset of several types."""
    rows = 5_000
    table = pa.table(
        {
            "origin": [("EWR", "JFK", "LGA")[number % 3] for number in range(rows)],
            "day": pa.array([number % 365 for number in range(rows)], pa.int32()).cast(pa.date32()),
            "delay": [number / 7 if number % 11 else None for number in range(rows)],
        }
    )
    types = {"origin": "string", "day": "date", "delay": "double"}
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    body = sink.getvalue().to_pybytes()
    path = ROOT.dataset(ENTITY, VERSION, "source")
    run_id = str(uuid4())
    key = f"{path.run_prefix(run_id)}part-0.zstd.parquet"
    client = store.client(attempts=3)
    etag = client.put_object(Bucket=ROOT.bucket, Key=key, Body=body)["ETag"].strip('"')
    columns = tuple(Column(name=name, type=kind) for name, kind in types.items())
    manifest = Manifest(
        tenant="training",
        entity_id=ENTITY,
        data_version=VERSION,
        dataset="source",
        process_id=None,
        step=None,
        attempt=None,
        run_id=run_id,
        location=path.uri(path.run_prefix(run_id)),
        action=None,
        action_revision=None,
        parameters={},
        inputs=(),
        image=None,
        code_version=None,
        spark_version=None,
        created_at=datetime.now(UTC),
        files=(DataFile(key=key, size=len(body), rows=rows, etag=etag),),
        rows=rows,
        bytes=len(body),
        columns=columns,
        schema_fingerprint=schema_fingerprint(columns),
    ).to_bytes()
    client.put_object(Bucket=ROOT.bucket, Key=path.manifest_key, Body=manifest)
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    return InputDataset(view="source", data_version=VERSION, dataset="source", manifest_sha256=digest, bytes=len(body), rows=rows)


def run_driver(store: Seaweed, source: InputDataset, address: str) -> int:
    """One run, as on a cluster; returns its exit code."""
    command = Command.model_validate(
        {
            "message_id": uuid4(),
            "tenant": "training",
            "process_id": new_id(),
            "step": 0,
            "attempt": 1,
            "entity_id": ENTITY,
            "data_version": VERSION,
            "action": "sql",
            "parameters": {"query": QUERY},
            "action_revision": f"sha256:{'0' * 64}",
            "image": "training",
            "entry_point": "spark_jobs",
            "inputs": [source],
            "output": DatasetName(data_version=VERSION, dataset="result"),
            "storage_root": ROOT.uri,
            "callback_url": f"{address}/callback",
            "start_before": datetime(2100, 1, 1, tzinfo=UTC),
            "time_limit_seconds": 600,
            "resource_profile": {"shuffle_partitions": 2},
            "flow_token": "token",
        }
    )
    file = Path("/build/command.json")
    file.write_text(command.model_dump_json())
    conf = {
        **spark_conf(store.endpoint, "us-east-1", shuffle_partitions=2),
        "spark.authenticate": "true",
        "spark.driver.host": "127.0.0.1",
        "spark.executor.instances": "1",
        "spark.kubernetes.namespace": NAMESPACE,
        "spark.kubernetes.driver.pod.name": DRIVER_POD,
        "spark.kubernetes.container.image": "training",
        "spark.kubernetes.executor.disableConfigMap": "true",
        "spark.local.dir": "/build/work",
    }
    settings = [part for name, value in conf.items() for part in ("--conf", f"{name}={value}")]
    environment = {
        "JAVA_TOOL_OPTIONS": _dump("driver"),
        "SPARK_LOCAL_IP": "127.0.0.1",  # the builder's name need not resolve
        "STRATUM_DRIVER_HEAP": "1g",
        "STRATUM_LOG_FILE": "/build/driver.log",
        "STRATUM_S3_ENDPOINT": store.endpoint,
        "STRATUM_S3_ACCESS_KEY": store.access_key,
        "STRATUM_S3_SECRET_KEY": store.secret_key,
    }
    arguments = ["driver", "--master", f"k8s://{address}", "--name", "training", *settings]
    arguments += ["--", "spark_jobs", "run", "--command", str(file)]
    return subprocess.run([ENTRYPOINT, *arguments], env={**os.environ, **environment}, timeout=900, check=False).returncode


def main() -> int:
    """Run it; 0 when both JVMs have done their work."""
    CLASSES.mkdir(parents=True)
    executors = Executors()
    server = stand_in(executors)
    store, process = start_store()
    try:
        code = run_driver(store, seal_input(store), f"http://127.0.0.1:{server.server_address[1]}")
        for executor in executors.processes:
            executor.wait(60)  # it goes when its driver has gone, and writes its list until then
        return code
    finally:
        process.kill()


sys.exit(main())
