"""Figures that tests measure, shown once at the end of the session."""

_figures: list[tuple[str, str]] = []


def report(name: str, figure: str) -> None:
    """Add a line to the end of the session's output."""
    _figures.append((name, figure))


def lines() -> list[str]:
    """All lines, in the order in which they were measured."""
    return [f"{name}: {figure}" for name, figure in _figures]
