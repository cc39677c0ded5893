"""`reproduce`: the same fingerprint however the work is cut; another one when a single cell differs."""

from pathlib import Path

import pytest

from tests.e2e.platform import Platform

ROWS = [f"{i},{'' if i % 10 == 0 else i * 3},{'x' if i % 2 else 'y'}" for i in range(2_000)]


@pytest.fixture(scope="module")
def fingerprint(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> str:
    return _shuffled_copy(platform, tmp_path_factory.mktemp("data"), "v1", ROWS)


def test_reproduced_with_other_partitions(platform: Platform, fingerprint: str) -> None:
    compared = platform.json("reproduce", "repro", "v1", "copy")
    assert fingerprint in str(compared)


@pytest.mark.slow  # tests/spark_jobs/test_fingerprint.py says the same of rows
def test_one_changed_cell_changes_it(platform: Platform, fingerprint: str, tmp_path: Path) -> None:
    changed = list(ROWS)
    changed[777] = changed[777].replace("2331", "2332")
    assert changed != ROWS
    assert _shuffled_copy(platform, tmp_path, "v_cell", changed) != fingerprint


@pytest.mark.slow
def test_swapped_nulls_change_it(platform: Platform, fingerprint: str, tmp_path: Path) -> None:
    swapped = list(ROWS)
    swapped[10], swapped[11] = "10,33,y", "11,,x"
    assert _shuffled_copy(platform, tmp_path, "v_nulls", swapped) != fingerprint


@pytest.mark.slow
def test_order_and_files_do_not(platform: Platform, fingerprint: str, tmp_path: Path) -> None:
    assert _shuffled_copy(platform, tmp_path, "v_order", list(reversed(ROWS))) == fingerprint


def _shuffled_copy(platform: Platform, folder: Path, version: str, rows: list[str]) -> str:
    file = folder / "rows.csv"
    file.write_text("id,value,side\n" + "\n".join(rows) + "\n")
    platform.cli("ingest", "repro", version, str(file))
    # shuffles every row, so that the number of partitions matters
    process = platform.post(
        entity_id="repro", data_version=version, action="deduplicate", parameters={"keys": ["id"]}, output_dataset="copy"
    )
    done = platform.wait(process["id"])
    assert done["state"] == "succeeded", done["reason"]
    return str(done["artifacts"][0]["content_fingerprint"])
