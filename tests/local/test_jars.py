"""The lock of the jars, and the cache they are kept in."""

from dataclasses import replace
from pathlib import Path

import pytest

from stratum.local import jars
from stratum.local.errors import JarsUnavailable
from stratum.local.java import Java, ensure_java


@pytest.fixture(scope="module")
def real_java() -> Java:
    return ensure_java(print)


def test_the_lock_is_what_the_declarations_ask_for() -> None:
    assert jars.check(jars.read_lock()) == []


def test_a_written_lock_reads_back(tmp_path: Path) -> None:
    locked = jars.read_lock()
    jars.write_lock(locked, tmp_path / "jars.lock")
    assert jars.read_lock(tmp_path / "jars.lock") == locked
    assert (tmp_path / "jars.lock").read_text() == jars.LOCK_FILE.read_text()


def test_check_names_every_inconsistency() -> None:
    locked = jars.read_lock()
    first = locked["kafka"].jars[0]
    broken = {
        "kafka": replace(locked["kafka"], roots=("org.apache.kafka:kafka_2.13:4.0.0",)),
        "s3a": replace(locked["s3a"], jars=(replace(first, sha256="short"),)),
        "unknown": locked["kafka"],
    }
    problems = "\n".join(jars.check(broken))
    for part in ("group unknown: not declared", "kafka_2.13:4.0.0", "hadoop-aws:3.4.2 missing", "malformed entry"):
        assert part in problems


@pytest.mark.parametrize("text", ["kafka = 3", "[kafka]\nroots = []", "[["])
def test_a_damaged_lock_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "jars.lock").write_text(text)
    with pytest.raises(JarsUnavailable, match=r"jars\.lock cannot be read"):
        jars.read_lock(tmp_path / "jars.lock")


def test_the_folder_holds_exactly_the_pinned_jars(real_java: Java) -> None:
    folder = jars.fetch("s3a", real_java)
    assert {path.name for path in folder.iterdir()} == {jar.file for jar in jars.read_lock()["s3a"].jars}


def test_a_changed_jar_in_the_cache_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_java: Java) -> None:
    locked = jars.read_lock()["s3a"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = jars.cache_folder() / f"s3a-{locked.digest}"
    folder.mkdir(parents=True)
    for jar in locked.jars:
        (folder / jar.file).write_bytes(b"not a jar")
    with pytest.raises(JarsUnavailable, match="not the pinned jar"):
        jars.fetch("s3a", real_java)


def test_a_failed_download_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_java: Java) -> None:
    settings = tmp_path / "ivysettings.xml"
    settings.write_text(
        '<ivysettings><settings defaultResolver="here"/><resolvers><filesystem name="here">'
        f'<artifact pattern="{tmp_path}/[artifact].[ext]"/></filesystem></resolvers></ivysettings>'
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("STRATUM_IVY_SETTINGS", str(settings))
    with pytest.raises(JarsUnavailable, match=r"awssdk#sts;2\.29\.52: not found"):
        jars.fetch("s3a", real_java)
    assert list(jars.cache_folder().iterdir()) == []


def test_the_operators_settings_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_java: Java) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("STRATUM_IVY_SETTINGS", str(tmp_path / "nowhere.xml"))
    with pytest.raises(JarsUnavailable, match="STRATUM_IVY_SETTINGS"):
        jars.fetch("kafka", real_java)


def test_an_unknown_group_is_named(real_java: Java) -> None:
    with pytest.raises(JarsUnavailable, match=r"no group of jars 'spark'.*kafka, s3a"):
        jars.fetch("spark", real_java)
