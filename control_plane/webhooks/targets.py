"""Where deliveries may go: the rules for URLs and for the addresses they lead to. Nothing here touches the network."""

import re
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Annotated, Any

import httpx
from pydantic import BeforeValidator, InstanceOf
from pydantic_settings import NoDecode

from control_plane.errors import ControlPlaneError
from control_plane.webhooks import addresses
from control_plane.webhooks.addresses import Address, Network

LONGEST_URL = 2048
HTTPS_ONLY = (range(443, 444),)
_DEFAULT_PORTS = {"https": 443, "http": 80}
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_HOST_NAME = re.compile(r"\.?[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


class TargetRefused(ControlPlaneError):
    """The URL, or an address that its host has, is none that deliveries may be sent to. Trying again would not help."""


@dataclass(frozen=True, slots=True)
class AllowList:
    """Targets beyond the public internet.

    Attributes:
        suffixes: host names, and all names below them: they may have private addresses, never loopback, link-local or metadata ones.
        networks: addresses that may be reached whatever they are.
    """

    suffixes: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()

    def has_host(self, host: str) -> bool:
        """Whether the name is allowed. An address is no name."""
        return addresses.read(host) is None and any(host == suffix or host.endswith(f".{suffix}") for suffix in self.suffixes)

    def has_address(self, address: Address) -> bool:
        """Whether the address is allowed by itself."""
        return any(address.version == network.version and address in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be tried, in its parts."""

    scheme: str
    host: str
    port: int
    path: bytes

    @property
    def netloc(self) -> str:
        """As the Host header names it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class TargetRules:
    """What is allowed here."""

    allow: AllowList = field(default_factory=AllowList)
    ports: tuple[range, ...] = HTTPS_ONLY

    def target(self, url: str) -> Target:
        """The parts of a URL that may be tried. Raises `TargetRefused`."""
        if len(url) > LONGEST_URL:
            raise TargetRefused(f"the URL has {len(url)} characters; at most {LONGEST_URL} are taken")
        try:
            parsed = httpx.URL(url)
            readable = bool(parsed.host)  # decodes a name in Punycode, and not every one can be
        except (httpx.InvalidURL, UnicodeError) as error:
            raise TargetRefused("the URL cannot be read") from error
        if parsed.scheme not in _DEFAULT_PORTS or not readable:
            raise TargetRefused("the URL must be https://host/…")
        if parsed.userinfo:
            raise TargetRefused("the URL holds credentials; deliveries are signed instead")
        host = parsed.raw_host.decode("ascii").lower().strip("[]").removesuffix(".")
        self._check_host(host)
        if parsed.scheme == "http" and not self._is_allowed(host):
            raise TargetRefused("the URL must be https; plain http is for hosts on the allow-list")
        port = parsed.port or _DEFAULT_PORTS[parsed.scheme]
        if not any(port in allowed for allowed in self.ports):
            raise TargetRefused(f"port {port} is not among those that deliveries may be sent to")
        return Target(parsed.scheme, host, port, parsed.raw_path)

    def check_address(self, host: str, address: Address) -> None:
        """Raise `TargetRefused` unless deliveries to `host` may go to this address of it."""
        if self.allow.has_address(address):
            return
        kind = addresses.why_refused(address)
        if kind is None or (self.allow.has_host(host) and addresses.is_private(address)):
            return
        raise TargetRefused(f"{address} may not be reached by deliveries: {kind}")

    def _check_host(self, host: str) -> None:
        address = addresses.read(host)
        if address is not None:
            if "%" in host:
                raise TargetRefused("an address with a zone leads to this machine's own networks")
            self.check_address(host, address)
        elif _NUMBER.fullmatch(host.rpartition(".")[2]):
            raise TargetRefused(f"{host} is an IPv4 address in an unusual spelling; write it as four decimal numbers")
        elif (host == "localhost" or host.endswith(".localhost")) and not self.allow.has_host(host):
            raise TargetRefused("localhost is this machine itself")

    def _is_allowed(self, host: str) -> bool:
        address = addresses.read(host)
        return self.allow.has_host(host) if address is None else self.allow.has_address(address)


def _allow_list(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    suffixes: list[str] = []
    networks: list[Network] = []
    for item in filter(None, (part.strip().lower() for part in value.split(","))):
        if ":" in item or "/" in item or addresses.read(item):
            networks.append(ip_network(item))  # a ValueError that says what is wrong
        elif _HOST_NAME.fullmatch(item):
            suffixes.append(item.strip("."))
        else:
            raise ValueError(f"{item!r} is neither a host name nor a network such as 10.0.0.0/8")
    return AllowList(tuple(suffixes), tuple(networks))


def _ports(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = []
    for item in (part.strip() for part in value.split(",")):
        first, _, last = item.partition("-")
        if not (first.isdecimal() and (last or first).isdecimal() and 1 <= int(first) <= int(last or first) <= 65_535):
            raise ValueError(f"{item!r} is neither a port nor a range of ports such as 8000-8999")
        found.append(range(int(first), int(last or first) + 1))
    return tuple(found)


AllowedTargets = Annotated[AllowList, NoDecode, BeforeValidator(_allow_list)]
"""Host names and networks joined by ','; written so in the environment."""
Ports = Annotated[tuple[InstanceOf[range], ...], NoDecode, BeforeValidator(_ports)]
"""Ports and ranges of them joined by ','; written so in the environment."""
