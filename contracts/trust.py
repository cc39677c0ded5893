"""Which certificate authorities are trusted beside the public ones."""

import atexit
import ssl
import tempfile
from functools import cache
from pathlib import Path
from typing import Annotated

import certifi
from pydantic import AfterValidator, FilePath


def holds_certificates(path: Path) -> Path:
    """The path, if there are certificates in the file.

    Raises:
        ValueError: there are none.
    """
    try:
        ssl.create_default_context(cafile=str(path))
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"{path} holds no certificates in PEM form ({error})") from error
    return path


CaBundle = Annotated[FilePath, AfterValidator(holds_certificates)]
"""A PEM file of certificate authorities to trust."""


def trusted_pem(bundle: Path | None) -> str:
    """The public authorities and those of `bundle`, as one PEM text."""
    return "\n".join(path.read_text(encoding="utf-8") for path in (Path(certifi.where()), bundle) if path is not None)


@cache
def trusted_file(bundle: Path) -> Path:
    """The same as a file, for clients that take nothing else. It lies in the temporary folder until the process ends,
    readable by its owner alone."""
    with tempfile.NamedTemporaryFile("w", prefix="stratum-ca-", suffix=".pem", encoding="utf-8", delete=False) as file:
        file.write(trusted_pem(bundle))
    path = Path(file.name)
    atexit.register(path.unlink, missing_ok=True)
    return path
