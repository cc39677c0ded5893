"""Local files to typed Parquet, ready to be uploaded. Nothing here speaks to a server."""

from stratum.client.convert.prepare import ParquetPart, prepare

__all__ = ["ParquetPart", "prepare"]
