"""Driver output, as it was shipped to the object store in chunks: `<log prefix>/NNNNNN.log`."""

from contracts.http import LogChunk
from control_plane.storage import Storage

MOST_BYTES = 1 << 20


def read(storage: Storage, sources: list[tuple[str, str]], offset: int, *, ended: bool) -> LogChunk:
    """At most `MOST_BYTES` from `offset` on, counted over the chunks of all `sources` (bucket, key prefix) in order."""
    position = 0
    taken: list[bytes] = []
    size = 0
    more = False
    for bucket, prefix in sources:
        for chunk in storage.list(bucket, prefix):
            if not chunk.key.endswith(".log"):
                continue
            begin, position = position, position + chunk.size
            if position <= offset:
                continue
            if size >= MOST_BYTES:
                more = True
                break
            body = storage.get(bucket, chunk.key)[max(offset - begin, 0) :]
            taken.append(body)
            size += len(body)
    data = b"".join(taken)
    return LogChunk(text=data.decode(errors="replace"), next_offset=offset + len(data), complete=ended and not more)
