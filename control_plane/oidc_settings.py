"""Settings of an identity provider whose tokens are taken beside API keys. None of them set: there is none."""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AnyHttpUrl, BeforeValidator, Field, TypeAdapter, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from contracts.api_keys import Role

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures by a private key that the provider alone has. `none` and HS… are not among them, and never will be."""


def _http_url(value: str) -> str:
    TypeAdapter(AnyHttpUrl).validate_python(value)
    return value  # as it is written: an issuer is compared letter by letter


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _json_object(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError('must be a JSON object such as {"data-readers": "viewer", "data-engineers": "operator"}') from error


Url = Annotated[str, AfterValidator(_http_url)]
Claim = Annotated[str, Field(min_length=1)]


class OidcSettings(BaseSettings):
    """The identity provider."""

    model_config = SettingsConfigDict(env_prefix="STRATUM_", frozen=True)

    oidc_issuer: Url | None = Field(default=None, description="As it stands in `iss`.")
    oidc_audience: Annotated[str, Field(min_length=1)] | None = Field(default=None, description="What must stand in `aud`.")
    oidc_jwks_url: Url | None = Field(default=None, description="Its keys; asked of the issuer's discovery document if not set.")
    oidc_algorithms: Annotated[tuple[Algorithm, ...], NoDecode, BeforeValidator(_listed), Field(min_length=1)] = ("RS256", "ES256")
    oidc_tenant_claim: Claim = "tenant"
    oidc_roles_claim: Claim = "roles"
    oidc_roles: Annotated[dict[str, Role], NoDecode, BeforeValidator(_json_object), Field(min_length=1)] = {
        "viewer": "viewer",
        "operator": "operator",
        "admin": "admin",
    }
    oidc_leeway_seconds: Annotated[int, Field(ge=0, le=300)] = 30

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        given = sorted(name for name in self.model_fields_set if name.startswith("oidc_"))
        missing = [name for name in ("oidc_issuer", "oidc_audience") if getattr(self, name) is None]
        if given and missing:
            variables = [f"STRATUM_{name.upper()}" for name in (*missing, given[0])]
            raise ValueError(f"{' and '.join(variables[:-1])} must be set too, since {variables[-1]} is; or set none of STRATUM_OIDC_…")
        return self

    @property
    def has_oidc(self) -> bool:
        """Whether there is an identity provider."""
        return self.oidc_issuer is not None
