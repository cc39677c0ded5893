"""Figures that tests measure, shown once at the end of the session."""

_figures: list[tuple[str, str]] = []


def report(name: str, figure: str) -> None:
    """Add a line to the end of the session's output."""
    _figures.append((name, figure))


def take_over(measured: list[tuple[str, str]]) -> None:
    """Add what another process of the session measured."""
    _figures.extend(measured)


def measured() -> list[tuple[str, str]]:
    """Name and figure of all that was measured in this process."""
    return list(_figures)


def lines() -> list[str]:
    """All lines, in the order in which they were measured."""
    return [f"{name}: {figure}" for name, figure in _figures]
