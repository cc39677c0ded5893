"""What the API's handlers work with, made once by the composition root."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from contracts.live_catalog import LiveCatalog
from contracts.signing_keys import Signer
from control_plane.api.authentication import Authenticator
from control_plane.api.looks import Looks
from control_plane.api.presigning import Presigner
from control_plane.database import Database
from control_plane.footer_readers import FooterReaders
from control_plane.judging import Judge
from control_plane.settings import ApiSettings
from control_plane.storage import Storage
from control_plane.turns import Turns
from control_plane.upload_seal import UploadSeals


class Drain:
    """Whether this replica is about to end, and takes requests only until nobody sends it any."""

    def __init__(self) -> None:
        self.has_begun = False

    def begin(self) -> None:
        """From now on the replica is not ready."""
        self.has_begun = True


@dataclass(frozen=True, slots=True)
class Services:
    """The API's parts."""

    settings: ApiSettings
    database: Database
    storage: Storage
    presigner: Presigner
    looks: Looks
    readers: FooterReaders
    seals: UploadSeals
    judge: Judge
    reports: Turns
    large_answers: Turns
    keys: Signer
    catalog: LiveCatalog
    authenticator: Authenticator
    drain: Drain = field(default_factory=Drain)


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Injected = Annotated[Services, Depends(_services)]
