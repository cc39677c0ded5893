"""The table of rights in the Kubernetes reference, made from the one in `contracts.access`."""

from itertools import groupby

from contracts.access import TABLE, Access

_BEGIN, _END = "<!-- made from contracts/access.py -->\n", "<!-- end -->\n"


def with_access_table(page: str) -> str:
    """The page with the table of today between its two marks."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}{access_table()}{_END}{after}"


def access_table() -> str:
    """One line for each role and kind of namespace."""
    lines = ["| role | in | may |", "| --- | --- | --- |"]
    for (role, where), rows in groupby(TABLE, key=lambda access: (access.role, access.where)):
        place = "tenants' namespaces" if where == "tenant" else "its own namespace"
        lines.append(f"| `{role}` | {place} | {'; '.join(map(_words, rows))} |")
    return "\n".join(lines) + "\n"


def _words(access: Access) -> str:
    group = f".{access.api_group}" if access.api_group not in ("", "batch") else ""
    return f"`{access.resource}{group}`: {', '.join(access.verbs)}"
