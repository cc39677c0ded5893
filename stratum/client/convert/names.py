"""Names of columns."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from stratum.errors import BrokenFile


def check_column_names(path: Path, names: Sequence[str], line: int | None = None) -> None:
    """Refuse names that no query could use: empty, with blanks around or control characters inside, or the same but for case.

    Raises:
        BrokenFile: naming the column.
    """
    for number, name in enumerate(names, start=1):
        if not name:
            raise BrokenFile(path, f"column {number} of {len(names)} has no name.", line)
        if name != name.strip() or not name.isprintable():
            raise BrokenFile(path, f"the column name {name!r} has blanks around it, or characters that cannot be printed.", line)
    for folded, count in Counter(map(str.lower, names)).items():
        if count > 1:
            same = ", ".join(repr(name) for name in names if name.lower() == folded)
            raise BrokenFile(path, f"several columns have one name (upper and lower case are the same in SQL): {same}.", line)
