"""Local files to typed Parquet, ready to be uploaded. Nothing here speaks to a server."""

from stratum.client.convert.prepare import prepare
from stratum.client.convert.scalars import parse_schema

__all__ = ["parse_schema", "prepare"]
