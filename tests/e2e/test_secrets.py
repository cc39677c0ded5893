"""A whole platform that did all kinds of work: where its secrets lie, and that they lie nowhere else."""

import asyncio
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from tests.control_plane.receiver import receiving
from tests.e2e.platform import Platform, wait_for

LONG = "SELECT k, count(*) AS n FROM source LATERAL VIEW explode(sequence(1, 2000)) t AS x WHERE v + x > 3 GROUP BY k"
BROKEN = "SELECT k / (v - v) AS n FROM source"
TOKEN = re.compile(rb"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.")
# what the platform starts from, each driver's own command; and the servers' data: its topic of commands, its keys for webhooks
MEANT_FOR_THEM = re.compile(
    r"platform\.json|services\.json|api-token|signing-key\.pem|s3/s3\.json|supervisor/\w+\.program\.json|jobs/[^/]+/command\.json"
)
SERVERS = re.compile(r"(postgres|kafka/data)/.+")


def work(platform: Platform, data: Path, callback_url: str) -> None:
    """A process that succeeds, one that fails in Spark and one that is cancelled while it runs; a receiver is told of each."""
    data.write_text("k,v\n" + "".join(f"{n % 7},{n}\n" for n in range(20_000)))
    platform.cli("ingest", "secrets", "v1", str(data))

    def begun(action: str, **parameters: str) -> str:
        process = platform.post(entity_id="secrets", data_version="v1", action=action, parameters=parameters, callback_url=callback_url)
        return str(process["id"])

    ended = [begun("filter", condition="v > 6"), begun("sql", query=BROKEN)]
    assert [platform.wait(process)["state"] for process in ended] == ["succeeded", "failed"]
    long = begun("sql", query=LONG)
    platform.wait(long, "running")
    visible = [command for command in command_lines() if str(platform.home) in command]
    assert any("command.json" in command for command in visible), "the driver was looked at"
    assert not any(secret in command for command in visible for secret in secrets_of(platform))
    assert not any(TOKEN.search(command.encode()) for command in visible)
    platform.json("cancel", long)
    platform.wait(long, "cancelled")
    wait_for(lambda: {platform.history(process)[-1] for process in (*ended, long)} == {"webhook_delivered"}, 60, lambda: "word of each")


def command_lines() -> Iterator[str]:
    """What every user of the machine may read of its processes."""
    for process in psutil.process_iter(["cmdline"]):
        yield " ".join(process.info["cmdline"] or [])


def secrets_of(platform: Platform) -> dict[str, str]:
    """Every secret of the platform, by its value."""
    with platform.http as http:
        webhooks = http.get("/v1/webhooks/secret").json()["items"]
    password = urlsplit(platform.document["database_url"]).password
    assert password
    key = "".join((platform.home / "signing-key.pem").read_text().splitlines()[1:-1])
    found = {
        platform.document["token"]: "API key",
        platform.document["s3"]["secret_key"]: "S3 key",
        password: "database",
        key: "signing key",
    }
    found |= {item["secret"]: "webhook" for item in webhooks}
    return found | {json.loads(path.read_text())["flow_token"]: "token" for path in platform.home.glob("jobs/*/command.json")}


def files_of(home: Path) -> Iterator[Path]:
    """Everything but the servers' own data."""
    for folder, _, names in os.walk(home):  # which minds no folder that goes meanwhile
        for path in (Path(folder) / name for name in names):
            if path.is_file() and not SERVERS.fullmatch(str(path.relative_to(home))):
                yield path


async def test_secrets_lie_where_they_are_meant_to(platform: Platform, tmp_path: Path) -> None:
    async with receiving() as receiver:
        await asyncio.to_thread(work, platform, tmp_path / "rows.csv", receiver.url())
        told = await receiver.until(3)
    secrets = secrets_of(platform)
    assert set(secrets.values()) == {"API key", "S3 key", "database", "signing key", "webhook", "token"}
    seen: set[str] = {"token" for each in told for secret in secrets if secret.encode() in each.body or secret in repr(each.headers)}
    assert not seen, "receivers are told none"
    for path in files_of(platform.home):
        place = str(path.relative_to(platform.home))
        with suppress(FileNotFoundError):  # the folder of a job that ended long ago has gone meanwhile
            mode, content = stat.S_IMODE(path.stat().st_mode), path.read_bytes().replace(b"\\n", b"").replace(b"\n", b"")
            held = {name for secret, name in secrets.items() if secret.encode() in content} | (
                {"token"} if TOKEN.search(content) else set()
            )
            if MEANT_FOR_THEM.fullmatch(place):
                assert mode == 0o600, place
                seen |= held
            else:
                assert not held, f"{place} holds {held}"
    assert seen == {"API key", "S3 key", "database", "signing key", "token"}, "they were found where they are meant to be"
    assert list(platform.home.glob("logs/*.log"))
    assert list(platform.home.glob("jobs/*/driver.log"))
    assert stat.S_IMODE(platform.home.stat().st_mode) == 0o700
