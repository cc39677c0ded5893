"""A launcher that kills itself between the effect and all that follows: it submits one command, starts the job, and is gone."""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import httpx

from contracts.event import LauncherEvent
from contracts.images import ImageSettings
from contracts.live_catalog import LiveCatalog
from contracts.topics import Topics
from launcher.consuming import MessageLoop, Subscription
from launcher.job import JobSpec
from launcher.keys import JwksKeys
from launcher.process.backend import ProcessBackend
from launcher.process.children import Launch
from launcher.process.folder import JobFolder
from launcher.publishing import Publisher
from launcher.submit import SubmitHandler

PROGRAM = Path(__file__).with_name("job_program.py")


def launch_program(spec: JobSpec, folder: JobFolder) -> Launch:
    return Launch([sys.executable, str(PROGRAM), str(folder.command_file)], {"PATH": os.environ["PATH"]})


def main(bootstrap: str, prefix: str, jwks_url: str, jobs: str, catalog: str) -> None:
    topics, kafka = Topics(prefix), {"bootstrap.servers": bootstrap}
    with httpx.Client() as http, ProcessBackend.open(Path(jobs), 2, launch_program) as backend:
        submit = SubmitHandler(backend, JwksKeys(jwks_url, http), LiveCatalog([Path(catalog)], print), "here", images=ImageSettings())

        def submit_and_die(value: bytes, read_at: float) -> Sequence[LauncherEvent]:
            submit(value, read_at)
            backend.changes(0)
            os.kill(os.getpid(), signal.SIGKILL)
            return []

        subscription = Subscription(kafka, topics, topics.commands, f"{prefix}.submit", "here")
        MessageLoop(subscription, submit_and_die, Publisher(kafka, topics.events)).run(threading.Event())


if __name__ == "__main__":
    main(*sys.argv[1:])
