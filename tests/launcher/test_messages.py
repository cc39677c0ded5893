"""Commands and cancels over a real broker, jobs in the real `process` backend."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import REGISTRY

from contracts.command import Command, ResourceProfile
from contracts.event import JobEnded, LauncherEvent, Relist
from contracts.images import ImageSettings
from contracts.live_catalog import LiveCatalog
from contracts.tokens import KeyRing
from contracts.topics import MOST_READ_BYTES
from launcher.cancel import CancelHandler
from launcher.consuming import MessageLoop, Subscription
from launcher.keys import JwksKeys
from launcher.observe import DatabaseClock, Observer
from launcher.process.backend import ProcessBackend
from launcher.process.ending import stop_jobs
from launcher.publishing import Publisher
from launcher.submit import SubmitHandler
from tests.launcher.kafka_probe import KafkaProbe, headers_of
from tests.launcher.launcher_program import launch_program
from tests.launcher.samples import eventually
from tests.launcher.stub_api import Api

CATALOG = """
actions:
  - {name: aggregate_revenue, description: d, image: i, parameters: {}}
profiles:
  standard:
    driver_cores: 1
    driver_memory: 1g
    executor_cores: 2
    executor_memory: 2g
    executor_instances: {min: 1, max: 32}
    bytes_per_executor: 536870912
    bytes_per_partition: 67108864
"""


class Installation:
    """A whole launcher in this process: what `assembly` makes, with a small program where Spark stands."""

    def __init__(self, folder: Path, kafka: KafkaProbe, api: Api) -> None:
        self.jobs = folder / "jobs"
        self.catalog = folder / "catalog"
        self.catalog.mkdir()
        (self.catalog / "all.yaml").write_text(CATALOG)
        self.kafka = kafka
        self.api = api
        self.complaints: list[Exception] = []
        self.images = ImageSettings()

    @contextmanager
    def running(self, most_pending: int = 100, catalog_patience: float = 0) -> Iterator[ProcessBackend]:
        stop = threading.Event()
        with ExitStack() as stack:
            http = stack.enter_context(httpx.Client())
            backend = stack.enter_context(ProcessBackend.open(self.jobs, 2, launch_program, grace_seconds=1, most_pending=most_pending))
            topics, publisher = self.kafka.topics, Publisher(self.kafka.client, self.kafka.topics.events)
            catalog = LiveCatalog([self.catalog], self.complaints.append, check_seconds=0)
            submit = SubmitHandler(backend, JwksKeys(self.api.jwks_url, http), catalog, "here", catalog_patience, images=self.images)
            cancel = CancelHandler(backend, JwksKeys(self.api.jwks_url, http), "here")
            clock = DatabaseClock(self.api.base_url, http)
            observer = Observer(
                backend, publisher.publish_events, clock, lambda _: True, cluster="here", relist_seconds=0.5, retention=timedelta(minutes=5)
            )
            commands = Subscription(self.kafka.client, topics, topics.commands, f"{topics.prefix}.submit", "here")
            cancels = Subscription(self.kafka.client, topics, topics.cancels, f"{topics.prefix}.cancel", "here")
            roles = [
                MessageLoop(commands, submit, publisher).run,
                MessageLoop(cancels, cancel, publisher).run,
                observer.run,
            ]
            threads = [threading.Thread(target=role, args=(stop,)) for role in roles]
            for thread in threads:
                thread.start()
            try:
                yield backend
            finally:
                stop.set()
                for thread in threads:
                    thread.join()

    def send(self, *commands: Command) -> None:
        for command in commands:
            self.kafka.send(self.kafka.topics.commands, command.model_dump_json().encode(), key=str(command.process_id).encode())

    def history(self, command: Command, until: str) -> list[LauncherEvent]:
        """Events of the command's process, once one of that type is among them."""

        def own(events: list[LauncherEvent]) -> list[LauncherEvent]:
            return [event for event in events if not isinstance(event, Relist) and event.process_id == command.process_id]

        return own(self.kafka.until_events(lambda events: any(event.type == until for event in own(events))))


def ends_of(events: list[LauncherEvent]) -> list[JobEnded]:
    return [event for event in events if isinstance(event, JobEnded)]


@pytest.fixture
def installation(tmp_path: Path, kafka: KafkaProbe, api: Api) -> Iterator[Installation]:
    installation = Installation(tmp_path, kafka, api)
    yield installation
    stop_jobs(installation.jobs, "the test is over", 0.2)


def test_command_runs_and_is_told(installation: Installation) -> None:
    command = installation.api.command()
    with installation.running():
        installation.send(command)
        events = installation.history(command, "ended")
    assert [event.type for event in events if event.type != "pending"] == ["submitted", "ended"]
    ended = events[-1]
    assert isinstance(ended, JobEnded)
    assert (ended.outcome, ended.exit_code, ended.cluster) == ("completed", 0, "here")
    assert {message.key() for message in installation.kafka.messages if b'"submitted"' in message.value()} == {
        str(command.process_id).encode()
    }
    assert installation.kafka.dead_letters(installation.kafka.topics.commands) == []


def test_redelivered_command_is_adopted(installation: Installation, tmp_path: Path) -> None:
    started = tmp_path / "started"
    command = installation.api.command({"started_file": str(started)})
    with installation.running():
        installation.send(command, command)
        installation.kafka.until_events(lambda events: [e.adopted for e in events if e.type == "submitted"] == [False, True])
        installation.history(command, "ended")
    assert len(started.read_text().split()) == 1


def test_what_nobody_can_act_on_becomes_a_dead_letter(installation: Installation) -> None:
    api, topics = installation.api, installation.kafka.topics
    command, other = api.command(), api.command()
    foreign = KeyRing([Ed25519PrivateKey.generate()])
    stranger = Api(0)
    stranger.keys = foreign
    bad = [
        b"no JSON",
        b"{}",
        command.model_dump_json().encode().replace(b'"tenant":"acme"', b'"tenant":"..."'),
        api.cancel(command).model_dump_json().encode(),
        command.model_copy(update={"flow_token": "x.y.z"}).model_dump_json().encode(),
        command.model_copy(update={"flow_token": other.flow_token}).model_dump_json().encode(),
        command.model_copy(update={"attempt": 2}).model_dump_json().encode(),
        command.model_copy(update={"flow_token": api.sign(command, "stratum:cancel")}).model_dump_json().encode(),
        command.model_copy(update={"flow_token": stranger.sign(command)}).model_dump_json().encode(),
        command.model_copy(update={"image": "registry.example.com/evil:1"}).model_dump_json().encode(),
        command.model_dump_json().encode().replace(b'"callback_url":"http://127.0.0.1', b'"callback_url":"http://192.0.2.1'),
        command.model_dump_json().encode().replace(b'"kind":', b'"added":1,"kind":'),
        b" " * (MOST_READ_BYTES + 1),
        b"",
    ]
    with installation.running():
        installation.kafka.send(topics.commands, *bad)
        installation.send(command)
        installation.history(command, "ended")
        letters = installation.kafka.until_dead_letters(topics.commands, len(bad))
    reasons = [headers_of(letter)["stratum-reason"] for letter in letters]
    expected = ["unreadable"] * 4 + ["forged"] * 8 + ["bytes; at most", "unreadable"]
    assert len(reasons) == len(expected)
    for reason, part in zip(reasons, expected, strict=True):
        assert part in reason
    assert all(headers_of(letter)["stratum-topic"] == topics.commands for letter in letters)
    assert len({(headers_of(letter)["stratum-partition"], headers_of(letter)["stratum-offset"]) for letter in letters}) == len(bad)
    assert headers_of(letters[12])["stratum-cut-from"] == str(MOST_READ_BYTES + 1)
    assert letters[0].value() == b"no JSON"
    assert not any(event.type == "refused" for event in installation.kafka.events())


def test_expired_token_is_not_the_launchers_to_judge(installation: Installation) -> None:
    command = installation.api.command()
    command = command.model_copy(update={"flow_token": installation.api.sign(command, expires_in=-3600)})
    with installation.running():
        installation.send(command)
        assert installation.history(command, "ended")


def test_genuine_but_unfit_is_refused(installation: Installation) -> None:
    unknown = installation.api.command(action="no_such_action")
    greedy = installation.api.command(resource_profile=ResourceProfile(executor_instances=33).model_dump())
    with installation.running():
        installation.send(unknown, greedy)
        refusal = installation.history(unknown, "refused")[-1]
        assert refusal.type == "refused"
        assert refusal.error_class == "UNKNOWN_ACTION"
        refusal = installation.history(greedy, "refused")[-1]
        assert refusal.type == "refused"
        assert "from 1 to 32, not 33" in refusal.message
    assert not any(event.type == "submitted" for event in installation.kafka.events())


def test_the_launcher_asks_its_own_list_of_images(installation: Installation) -> None:
    pinned = "registry.example.com/team/job@sha256:" + "1" * 64
    installation.images = ImageSettings(allowed_images={"acme": ("registry.example.com/team/*",)}, require_image_digest=True)
    foreign = installation.api.command(image="registry.example.com/other/job@sha256:" + "1" * 64)
    movable = installation.api.command(image="registry.example.com/team/job:latest")
    others = installation.api.command(tenant="globex", image=pinned)
    allowed = installation.api.command(image=pinned)
    with installation.running():
        installation.send(foreign, movable, others, allowed)
        for command, words in ((foreign, "not among those"), (movable, "not pinned"), (others, "'globex'")):
            refusal = installation.history(command, "refused")[-1]
            assert refusal.type == "refused"
            assert refusal.error_class == "IMAGE_NOT_ALLOWED"
            assert words in refusal.message
        assert installation.history(allowed, "ended")


def test_a_catalog_that_is_behind_is_waited_for(installation: Installation) -> None:
    """The API may know an action earlier: a catalog reaches the parts of a cluster one after another."""
    early = installation.api.command(action="brand_new")
    with installation.running(catalog_patience=60):
        installation.send(early)
        eventually(lambda: REGISTRY.get_sample_value("stratum_launcher_paused", {"topic": installation.kafka.topics.commands}), "the wait")
        (installation.catalog / "new.yaml").write_text("actions: [{name: brand_new, description: d, image: i, parameters: {}}]\n")
        assert [event.type for event in installation.history(early, "ended")][-1] == "ended"


def test_conflict_is_an_alarm_and_changes_nothing(installation: Installation) -> None:
    command = installation.api.command()
    other = command.model_copy(update={"parameters": {"exit_code": 1}})
    other = other.model_copy(update={"flow_token": installation.api.sign(other)})
    with installation.running():
        installation.send(command, other)
        letters = installation.kafka.until_dead_letters(installation.kafka.topics.commands, 1)
        ended = installation.history(command, "ended")[-1]
    assert "conflict" in headers_of(letters[0])["stratum-reason"]
    assert isinstance(ended, JobEnded)
    assert ended.outcome == "completed"


def test_catalog_is_read_again_and_a_broken_one_is_not_taken(installation: Installation) -> None:
    added, after = installation.api.command(action="added"), installation.api.command()
    with installation.running():
        file = installation.catalog / "more.yaml"
        file.write_text("actions: [{name: added, description: d, image: i, parameters: {}}]")
        installation.send(added)
        installation.history(added, "submitted")
        file.write_text("actions: [{name: added")
        installation.send(after)
        installation.history(after, "submitted")
    assert "more.yaml" in str(installation.complaints[0])


def test_waits_while_the_keys_are_away(installation: Installation) -> None:
    command = installation.api.command()
    topics = installation.kafka.topics
    installation.api.up = False
    with installation.running():
        installation.send(command)
        installation.kafka.send(topics.commands, b"behind it")
        assert not installation.kafka.events()
        assert installation.kafka.committed(f"{topics.prefix}.submit", topics.commands) < 2
        installation.api.up = True
        installation.history(command, "ended")
        installation.kafka.until_dead_letters(topics.commands, 1)


def test_new_key_is_fetched(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launcher.keys.REFETCH_SECONDS", 0.0)
    before = installation.api.command()
    with installation.running():
        installation.send(before)
        installation.history(before, "submitted")
        installation.api.keys = KeyRing([Ed25519PrivateKey.generate()])
        after = installation.api.command()
        installation.send(after)
        installation.history(after, "submitted")


@pytest.mark.parametrize("what", ["commands", "cancels"])
def test_made_up_keys_hold_up_what_is_behind_them_once(installation: Installation, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Not once for each of them: all that are held are judged by one fetch."""
    monkeypatch.setattr("launcher.keys.REFETCH_SECONDS", 0.2)
    api, topics, stranger = installation.api, installation.kafka.topics, Api(0)
    command = api.command()
    with installation.running():
        installation.send(command)
        installation.history(command, "ended")
    forged = []
    for _ in range(30):
        stranger.keys = KeyRing([Ed25519PrivateKey.generate()])
        forged.append(stranger.command() if what == "commands" else stranger.cancel(command))
    topic = topics.commands if what == "commands" else topics.cancels
    installation.kafka.send(topic, *[each.model_dump_json().encode() for each in forged], key=b"one partition")
    asked = api.keys_asked
    with installation.running():
        installation.kafka.until_dead_letters(topic, len(forged))
    assert api.keys_asked - asked < len(forged) / 2


def test_pauses_while_the_backend_pushes_back(installation: Installation, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    commands = [installation.api.command({"seconds": 60, "until_file": str(gate)}) for _ in range(8)]
    with installation.running(most_pending=3) as backend:
        installation.send(*commands)
        eventually(lambda: len(backend.jobs()) == 5, "two running and three waiting jobs")
        assert len([event for event in installation.kafka.events() if event.type == "submitted"]) <= 5
        gate.touch()
        installation.kafka.until_events(lambda events: len([e for e in events if e.type == "ended"]) == 8)
    topics = installation.kafka.topics
    assert installation.kafka.committed(f"{topics.prefix}.submit", topics.commands) == 8


def test_cancel(installation: Installation) -> None:
    command, absent = installation.api.command({"seconds": 60}), installation.api.command()
    topics = installation.kafka.topics
    with installation.running():
        installation.send(command)
        installation.history(command, "submitted")
        for each in (command, absent):
            installation.kafka.send(topics.cancels, installation.api.cancel(each).model_dump_json().encode())
        installation.kafka.send(topics.cancels, command.model_dump_json().encode())
        outcomes = [installation.history(each, "ended")[-1] for each in (command, absent)]
        assert [each.outcome for each in outcomes if isinstance(each, JobEnded)] == ["killed", "absent"]
        installation.kafka.until_dead_letters(topics.cancels, 1)
        # a cancel that comes again, after the end was told, is answered again
        observed = len(ends_of(installation.kafka.events()))
        installation.kafka.send(topics.cancels, installation.api.cancel(command).model_dump_json().encode())
        installation.kafka.until_events(lambda events: len(ends_of(events)) > observed)


def test_relist_needs_the_database_time(installation: Installation) -> None:
    command = installation.api.command({"seconds": 60})
    with installation.running():
        installation.send(command)

        def listed(events: list[LauncherEvent]) -> list[Relist]:
            return [event for event in events if isinstance(event, Relist) and event.live]

        relist = listed(installation.kafka.until_events(lambda events: bool(listed(events))))[0]
        assert [ref.process_id for ref in relist.live] == [command.process_id]
        assert relist.began_at in installation.api.time_asked
        assert relist.began_at < relist.at
        installation.api.up = False
        count = len(installation.kafka.events())
        installation.kafka.send(installation.kafka.topics.cancels, b"a message, so that some time has passed")
        installation.kafka.until_dead_letters(installation.kafka.topics.cancels, 1)
        installation.kafka.send(installation.kafka.topics.cancels, b"and some more")
        installation.kafka.until_dead_letters(installation.kafka.topics.cancels, 2)
        assert len([event for event in installation.kafka.events()[count:] if isinstance(event, Relist)]) <= 1


def test_launcher_killed_between_effect_and_offset(installation: Installation, tmp_path: Path) -> None:
    """The job exists, nothing was told: the next launcher finds it, adopts it, tells it, and nothing runs twice."""
    started = tmp_path / "started"
    command = installation.api.command({"seconds": 60, "until_file": str(tmp_path / "gate"), "started_file": str(started)})
    kafka = installation.kafka
    arguments = [kafka.bootstrap, kafka.topics.prefix, installation.api.jwks_url, str(installation.jobs), str(installation.catalog)]
    with subprocess.Popen([sys.executable, "-m", "tests.launcher.launcher_program", *arguments], env=os.environ) as first:
        installation.send(command)
        assert first.wait(30) == -signal.SIGKILL
    eventually(started.exists, "the job that outlives its launcher")
    assert not kafka.events()
    with installation.running():
        submitted = installation.history(command, "submitted")[0]
        assert submitted.type == "submitted"
        assert submitted.adopted
        (tmp_path / "gate").touch()
        installation.history(command, "ended")
    assert len(started.read_text().split()) == 1
