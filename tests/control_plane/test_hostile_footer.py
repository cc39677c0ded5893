"""An upload that ends whoever reads it, before an API that runs as it does in production."""

import psutil
import pytest

from tests.control_plane.hostile import ENDS_ITS_READER
from tests.control_plane.installation import Installation
from tests.control_plane.readers import processes
from tests.control_plane.served import served


@pytest.mark.parametrize("end", ["kill", "terminate"])
async def test_it_is_refused_the_api_goes_on_and_leaves_no_reader(end: str, still: Installation) -> None:
    async with served(still) as api:
        admin = await still.tenant(api.client)
        assert processes(api.command.pid) == [], "none before the first seal"
        upload = await admin.begin_upload("source", ENDS_ITS_READER)
        refused = await admin.post(f"{upload['path']}/seal")
        assert (refused.status_code, refused.json()["type"]) == (422, "urn:stratum:problem:invalid")
        assert refused.json()["detail"] == "part-00000.parquet cannot be read: reading its footer ended the reader"
        assert (await admin.get("/v1/entities")).status_code == 200
        assert (await admin.ingest())["rows"] == 4
        readers = [psutil.Process(pid) for pid in processes(api.command.pid)]
        assert len(readers) == 1
        getattr(api.command, end)()
        _, log = await api.command.ended()
    assert psutil.wait_procs(readers, timeout=20)[1] == []
    assert "Definition level histogram size mismatch" in log, "what the reader said at its end"
