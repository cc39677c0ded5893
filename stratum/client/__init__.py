"""The SDK: `Client`, and `AsyncClient` for asyncio.

from stratum.client import Client

with Client() as client:
    client.ingest("cust_8842", "v2024.10.05", ["orders.csv"])
    process = client.run("cust_8842", "v2024.10.05", "aggregate_revenue", {"currency": "EUR"}, wait=True)
    print(client.dataset("cust_8842", "v2024.10.05", "aggregate_revenue").to_pandas())
"""

from stratum.client.asynchronous import AsyncClient
from stratum.client.blocking import Client
from stratum.client.dataset import AsyncSealedDataset, SealedDataset
from stratum.client.objects import S3Access
from stratum.client.reproduce import Reproduction
from stratum.errors import (
    BrokenFile,
    Conflict,
    CorruptDataset,
    Forbidden,
    Invalid,
    MissingLibrary,
    NotFound,
    ProcessFailed,
    ServerFault,
    StratumError,
    TimedOut,
    Unauthenticated,
    Unavailable,
)

__all__ = [
    "AsyncClient",
    "AsyncSealedDataset",
    "BrokenFile",
    "Client",
    "Conflict",
    "CorruptDataset",
    "Forbidden",
    "Invalid",
    "MissingLibrary",
    "NotFound",
    "ProcessFailed",
    "Reproduction",
    "S3Access",
    "SealedDataset",
    "ServerFault",
    "StratumError",
    "TimedOut",
    "Unauthenticated",
    "Unavailable",
]
