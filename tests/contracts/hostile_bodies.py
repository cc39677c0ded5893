"""What reading costs: bodies of the greatest size that is looked into, whose every part may be wrong or is a great many.

`python -m tests.contracts.hostile_bodies KIND` reads them one after another, and says after each how far this process has grown.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts import reading
from contracts.command import CancelCommand, Command
from contracts.event import launcher_event
from contracts.manifest import Manifest
from contracts.proposal import Proposal
from contracts.reading import Bounds, Unreadable

EXAMPLES = Path(__file__).parents[2] / "contracts" / "examples"
_GAP = "here is the gap"


@dataclass(frozen=True)
class Kind:
    """What is read, within what bounds, and which parts of a good one are replaced: each by fillings that begin with one of these."""

    reader: Any
    bounds: Bounds
    example: str
    places: Mapping[str, str]


KINDS: Mapping[str, Kind] = {
    "proposal": Kind(
        Proposal,
        reading.DOCUMENT,
        "proposal/good-mission.json",
        {
            "": '[{"',
            "datasets": "[",
            "datasets.0": "{",
            "datasets.0.files": "[",
            "datasets.0.files.0": "{",
            "datasets.0.column_statistics": "{",
            "datasets.0.quality": '[{"',
            "code_version": '"',
        },
    ),
    "manifest": Kind(
        Manifest,
        reading.DOCUMENT,
        "manifest/good-mission.json",
        {"inputs": "[", "parameters.a": '[{"', "partition_columns": "[", "columns.0": "{"},
    ),
    "command": Kind(
        Command,
        reading.MESSAGE,
        "command/good-mission.json",
        {"": '[{"', "inputs": "[", "inputs.0": "{", "output": "{", "parameters.a": '[{"', "process_chain": "["},
    ),
    "cancel": Kind(CancelCommand, reading.MESSAGE, "cancel/good-mission.json", {"": '[{"', "flow_token": '"'}),
    "relist": Kind(
        launcher_event, reading.MESSAGE, "event/good-relist-unseen.json", {"": '[{"', "live": "[", "live.0": "{", "unseen": "["}
    ),
    "submitted": Kind(launcher_event, reading.MESSAGE, "event/good-submitted-mission.json", {"resource_profile": "{", "job_name": '"'}),
    "pending": Kind(launcher_event, reading.MESSAGE, "event/good-pending.json", {"": "{", "cause": '"'}),
    "ended": Kind(launcher_event, reading.MESSAGE, "event/good-ended-completed.json", {"": "{", "outcome": '"'}),
    "refused": Kind(launcher_event, reading.MESSAGE, "event/good-refused.json", {"": "{", "message": '"'}),
}
DEEP = '{"a":' * 60 + "0" + "}" * 60
FILLINGS: Mapping[str, tuple[str, str, str]] = {
    "objects": ("[", "{},", "0]"),
    "numbers": ("[", "0,", "0]"),
    "long numbers": ("[", "9" * 30 + ",", "0]"),
    "lists": ("[", "[0],", "0]"),
    "objects with a field": ("[", '{"%06x":0},', "0]"),
    "objects in objects": ("[", '{"a":{}},', "0]"),
    "texts": ("[", '"%06x",', "0]"),
    "deep": ("[", f"{DEEP},", "0]"),
    "too deep": ("[", "[", "]"),
    "fields": ("{", '"%06x":0,', '"z":0}'),
    "fields of texts": ("{", '"%06x":"v%06x",', '"z":0}'),
    "fields of objects": ("{", '"%06x":{"min":[],"max":[]},', '"z":0}'),
    "a text": ('"', "a", '"'),
    "a text with one wide letter": ('"\N{GRINNING FACE}', "a", '"'),
    "a text of escapes": ('"', r"\ud83d\ude00", '"'),
}


def _set(document: Any, place: str) -> Any:
    """The document with the gap in place of one part."""
    if not place:
        return _GAP
    first, _, rest = place.partition(".")
    if isinstance(document, list):
        return [_set(document[0], rest), *document[1:]]
    return {**document, first: _set(document.get(first), rest)}


def bodies(kind: Kind) -> Iterator[tuple[str, bytes]]:
    """Each place of a good document with each filling: as many as the number of values allows, and once as many as the bytes allow."""
    document = json.loads((EXAMPLES / kind.example).read_text(encoding="utf-8"))
    frames = {place: json.dumps(_set(document, place)).encode().split(f'"{_GAP}"'.encode()) for place in kind.places}
    slack = max(len(head) + len(tail) for head, tail in frames.values()) + 10
    for name, (begin, item, end) in FILLINGS.items():
        size = len(item) + 4 * item.count("%06x")  # each becomes six characters
        most = (kind.bounds.most_bytes - slack) // size
        if begin[0] == '"' and name != "a text":
            most //= 4
        filled = _filled(item, min(most, (kind.bounds.most_values - slack) // max(reading.values(item.encode()), 1)))
        for place, (head, tail) in frames.items():
            if begin[0] in kind.places[place]:
                yield f"{place or 'all of it'}: {name}", b"".join((head, begin.encode(), filled, end.encode(), tail))
    head, tail = frames[next(iter(frames))]
    yield "far too many objects", head + b"[" + b"{}," * ((kind.bounds.most_bytes - slack) // 3) + b"0]" + tail
    yield "far too wide a text", head + '"\N{GRINNING FACE}'.encode() + b"a" * (kind.bounds.most_bytes - slack) + b'"' + tail


def _filled(item: str, number: int) -> bytes:
    if "%" not in item:
        return item.encode() * number
    made, times = bytearray(), item.count("%")
    for each in range(number):
        made += (item % ((each,) * times)).encode()
    return bytes(made)


def peak() -> float:
    """MiB that this process had at its highest. Not `ru_maxrss`, which begins with what its parent had."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def main(name: str) -> None:
    """Read them all."""
    kind = KINDS[name]
    begin = peak()
    for shape, body in bodies(kind):
        try:
            reading.read(kind.reader, body, kind.bounds)
            outcome = "read"
        except Unreadable as error:
            outcome = str(error)
        print(json.dumps({"shape": shape, "bytes": len(body), "grown": peak() - begin, "outcome": outcome}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
