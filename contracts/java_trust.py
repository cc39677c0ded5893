"""A truststore for a JVM, which takes no PEM: the authorities that its Java trusts by itself, and private ones beside them.

python -m contracts.java_trust JAVA_HOME BUNDLE FILE    makes FILE, and prints the JVM's options that name it, one a line

Java's own `keytool` would start a JVM for each certificate. The format is Java's old one, JKS: every Java reads it, and certificates
are copied into it as they are. A library that writes the newer one takes them apart, and refuses roots that the world still trusts.
"""

import hashlib
import re
import ssl
import struct
import sys
import warnings
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
from cryptography.utils import CryptographyDeprecationWarning

from contracts.trust import holds_certificates

_PASSWORD: Final = "changeit"  # noqa: S105
"""Java's own, for what is no secret. Whoever opens the store without being told a password takes this one."""
_JKS = b"\xfe\xed\xfe\xed"
_VERSION = 2
_TRUSTED_CERTIFICATE = 2


def trusting_options(java_home: Path, bundle: Path, file: Path) -> list[str]:
    """Make the truststore `file`; the options of a JVM that is to use it.

    Raises:
        ValueError: `bundle`, or Java's own store, cannot be read.
    """
    try:
        file.write_bytes(_as_jks([*_of_java(java_home), *_in_pem(bundle)]))
    except (OSError, ValueError, struct.error) as error:
        raise ValueError(f"STRATUM_CA_BUNDLE={bundle} and what Java itself trusts make no truststore: {error}") from error
    settings = {"trustStore": file, "trustStoreType": "JKS", "trustStorePassword": _PASSWORD}
    return [f"-Djavax.net.ssl.{name}={value}" for name, value in settings.items()]


def _in_pem(bundle: Path) -> list[bytes]:
    blocks = re.findall(
        r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", holds_certificates(bundle).read_text("utf-8"), re.DOTALL
    )
    return [ssl.PEM_cert_to_DER_cert(each) for each in blocks]


def _of_java(home: Path) -> list[bytes]:
    """What the JVM would trust without being told, found where it looks."""
    places = [home / "lib" / "security" / name for name in ("jssecacerts", "cacerts")]
    store = next((place for place in places if place.exists()), places[-1]).read_bytes()
    if store.startswith(_JKS):
        return list(_in_jks(store))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # of a root whose serial number is zero
        return [each.certificate.public_bytes(Encoding.DER) for each in load_pkcs12(store, _PASSWORD.encode()).additional_certs]


def _in_jks(store: bytes) -> Iterator[bytes]:
    """Debian's store has this format, whatever the version of Java."""
    stream = BytesIO(store)
    _, version, entries = struct.unpack(">4sII", stream.read(12))
    for _ in range(entries):
        tag, name_length = struct.unpack(">IH", stream.read(6))
        if (version, tag) != (_VERSION, _TRUSTED_CERTIFICATE):
            raise ValueError("Java's own truststore holds more than certificates")
        stream.read(name_length + 8)  # and a date
        (type_length,) = struct.unpack(">H", stream.read(2))
        stream.read(type_length)
        (length,) = struct.unpack(">I", stream.read(4))
        yield stream.read(length)


def _as_jks(certificates: Sequence[bytes]) -> bytes:
    store = struct.pack(">4sII", _JKS, _VERSION, len(certificates))
    for number, each in enumerate(certificates):  # entries of one name would replace each other
        store += (
            struct.pack(">I", _TRUSTED_CERTIFICATE) + _text(str(number)) + bytes(8) + _text("X.509") + struct.pack(">I", len(each)) + each
        )
    return store + hashlib.sha1(_PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + store).digest()  # noqa: S324  # as the format has it


def _text(value: str) -> bytes:
    return struct.pack(">H", len(value)) + value.encode("ascii")


def main() -> None:
    """Make a truststore."""
    java_home, bundle, file = map(Path, sys.argv[1:])
    try:
        print(*trusting_options(java_home, bundle, file), sep="\n")
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
