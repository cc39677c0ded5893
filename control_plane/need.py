"""What a command may wait for."""

from enum import StrEnum


class Need(StrEnum):
    """A part of an installation."""

    DATABASE = "database"
    SCHEMA = "schema"
    BROKER = "broker"
    STORAGE = "storage"
