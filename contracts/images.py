"""Which images a tenant's actions may run: asked when work is accepted, and once more by the launcher, of its own settings."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from contracts.errors import ImageRefused

OTHERS = "*"
"""Stands for every tenant that has no list of its own."""
_PINNED = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
_ENTRY = re.compile(r"[^\s*]*[^\s*/:@](?:[/:@]\*)?|\*")


def _entry(value: str) -> str:
    if not _ENTRY.fullmatch(value):
        raise ValueError(
            f"{value!r} is neither an image nor a beginning of images: a `*` stands alone, or at the end behind `/`, `:` or `@`,"
            " as in `registry.example.com/team/*`"
        )
    return value


Entry = Annotated[str, AfterValidator(_entry)]


class ImageSettings(BaseSettings):
    """The operator's rules. None of them set: every image of the catalog may run."""

    model_config = SettingsConfigDict(env_prefix="STRATUM_", frozen=True)

    allowed_images: dict[str, tuple[Entry, ...]] | None = Field(
        default=None, description="JSON: for each tenant, or `*` for those not named, images or beginnings of images that end with `*`."
    )
    require_image_digest: bool = Field(default=False, description="Refuse images that are not named by digest.")

    def check_image(self, tenant: str, image: str) -> None:
        """Return quietly when a run of `tenant` may use `image`.

        Raises:
            ImageRefused: it may not; the message says what the operator would change.
        """
        if self.require_image_digest and not is_pinned(image):
            raise ImageRefused(f"the image {image!r} is not pinned: the catalog must name it by digest, as in `name@sha256:…`")
        if self.allowed_images is not None and not _matches(_list_of(self.allowed_images, tenant), image):
            raise ImageRefused(f"the image {image!r} is not among those that the tenant {tenant!r} may run: its operator adds it")


def is_pinned(image: str) -> bool:
    """Whether `image` is named by digest, so that it cannot become another one under the same name."""
    return _PINNED.fullmatch(image) is not None


def _list_of(lists: Mapping[str, Sequence[str]], tenant: str) -> Sequence[str]:
    own = lists.get(tenant)
    return lists.get(OTHERS, ()) if own is None else own


def _matches(entries: Sequence[str], image: str) -> bool:
    return any(image == entry or (entry.endswith("*") and image.startswith(entry[:-1])) for entry in entries)
