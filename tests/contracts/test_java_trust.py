"""Truststores, as Java itself reads them."""

import re
import subprocess
from pathlib import Path

import pytest
import trustme

from contracts.java_trust import trusting_options
from stratum.local.java import Java, ensure_java


@pytest.fixture(scope="module")
def java() -> Java:
    return ensure_java(print)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    file.write_bytes(b"# ours\n" + trustme.CA().cert_pem.bytes() + b"\n# theirs\n" + trustme.CA().cert_pem.bytes())
    return file


def keytool(java: Java, *arguments: str) -> str:
    command = [str(java.home / "bin" / "keytool"), "-J-Duser.language=en", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def fingerprints(java: Java, *store: str) -> set[str]:
    return set(re.findall(r"SHA-256\): (\S+)", keytool(java, "-list", *store, "-storepass", "changeit")))


def test_java_s_own_authorities_and_all_of_the_bundle(java: Java, bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "truststore.jks"
    assert trusting_options(java.home, bundle, file)[0] == f"-Djavax.net.ssl.trustStore={file}"
    made, own = fingerprints(java, "-keystore", str(file), "-storetype", "JKS"), fingerprints(java, "-cacerts")
    assert own < made
    assert len(made - own) == 2


@pytest.mark.parametrize("kind", ["JKS", "PKCS12", "PKCS12 without a password"])
def test_every_format_of_java_s_own_store(java: Java, bundle: Path, tmp_path: Path, kind: str) -> None:
    home = tmp_path / "java"
    (home / "lib" / "security").mkdir(parents=True)
    own, *_ = kind.split()
    open_store = ["-J-Dkeystore.pkcs12.certProtectionAlgorithm=NONE", "-J-Dkeystore.pkcs12.macAlgorithm=NONE"] if kind != own else []
    copied = ["-destkeystore", str(home / "lib" / "security" / "cacerts"), "-deststoretype", own, "-deststorepass", "changeit"]
    source = ["-srckeystore", str(java.home / "lib" / "security" / "cacerts"), "-srcstorepass", "changeit"]
    keytool(java, *open_store, "-importkeystore", *source, *copied)
    trusting_options(home, bundle, tmp_path / "truststore.jks")
    assert len(fingerprints(java, "-keystore", str(tmp_path / "truststore.jks")) - fingerprints(java, "-cacerts")) == 2


@pytest.mark.parametrize("text", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_bundle_without_certificates_is_told(java: Java, tmp_path: Path, text: bytes) -> None:
    (tmp_path / "ca.pem").write_bytes(text)
    with pytest.raises(ValueError, match=re.escape(f"STRATUM_CA_BUNDLE={tmp_path}/ca.pem")):
        trusting_options(java.home, tmp_path / "ca.pem", tmp_path / "truststore.jks")
