"""What the API's handlers work with, made once by the composition root."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from contracts.live_catalog import LiveCatalog
from contracts.signing_keys import Signer
from control_plane.api.authentication import Authenticator
from control_plane.database import Database
from control_plane.settings import ApiSettings
from control_plane.storage import Storage


@dataclass(frozen=True, slots=True)
class Services:
    """The API's parts."""

    settings: ApiSettings
    database: Database
    storage: Storage
    keys: Signer
    catalog: LiveCatalog
    authenticator: Authenticator


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Injected = Annotated[Services, Depends(_services)]
