"""`python -m control_plane signing-keys`: change the keys that sign flow and run tokens, in the file that the services read."""

import os
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import structlog
import typer

from contracts import signing_keys
from contracts.errors import SigningKeyError
from contracts.signing_keys import SigningKey

log = structlog.get_logger()
PUBLISH_SECONDS = 600
"""A kubelet brings a Secret up to date within two minutes; every API must publish a key before the relay signs with it."""
RETIRE_SECONDS = 14 * 86_400
"""As long as topics keep messages: the launcher may meet a command, or a cancel, that is as old as that."""
File = Annotated[Path, typer.Argument(metavar="FILE", help="PEM file that STRATUM_SIGNING_KEY_FILE names.", show_default=False)]

commands = typer.Typer(no_args_is_help=True, help="Look at, and change, the keys that sign flow and run tokens.")


@commands.command()
def show(file: File) -> None:
    """List the keys of a file, and what each is used for now."""
    _tell(signing_keys.read(file), datetime.now(UTC))


@commands.command()
def rotate(
    file: File,
    publish_seconds: Annotated[int, typer.Option(min=0, help="For how long the new key is published before it signs.")] = PUBLISH_SECONDS,
    retire_seconds: Annotated[int, typer.Option(min=0, help="For how long after that the old ones verify.")] = RETIRE_SECONDS,
) -> None:
    """Add a new key: published at once, signing later, the old ones gone later still. Running services follow by themselves."""
    now = datetime.now(UTC)
    keys = signing_keys.rotated(signing_keys.read(file), now, timedelta(seconds=publish_seconds), timedelta(seconds=retire_seconds))
    write(file, keys)
    _tell(keys, now)


def write(file: Path, keys: Sequence[SigningKey]) -> None:
    """Put the keys into the file, at once and as readable as it was."""
    before = file.stat()
    text = "\n".join(key.text for key in keys)
    new: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        new = Path(name)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        # the services may run as another user than whoever changes the keys
        os.chown(new, before.st_uid, before.st_gid)
        new.chmod(before.st_mode & 0o777)
        new.replace(file)
    except OSError as error:
        if new is not None:
            new.unlink(missing_ok=True)
        raise SigningKeyError(f"cannot write the signing key {file}: {error}") from error


def report(error: SigningKeyError) -> None:
    """For a running service, whose key file became wrong."""
    log.error("the signing keys are wrong; the last ones stay", error=str(error))


def _tell(keys: Sequence[SigningKey], now: datetime) -> None:
    signer, *_ = signing_keys.in_order(keys, now)
    for key in keys:
        if key is signer:
            use = "signs"
        elif not key.is_known(now):
            use = "is over"
        elif key.signs_from is not None and key.signs_from > now:
            use = f"is published, and signs from {key.signs_from:%Y-%m-%d %H:%M:%SZ}"
        else:
            use = "verifies"
        until = f", until {key.verifies_until:%Y-%m-%d %H:%M:%SZ}" if key.verifies_until is not None and key.is_known(now) else ""
        typer.echo(f"{key.id}  {use}{until}")
