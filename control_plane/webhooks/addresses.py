"""Which IP addresses a delivery may be sent to."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


# In-cluster and in-house networks: what an allowed host name may resolve to.
_PRIVATE = _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
_METADATA = _networks(
    "169.254.169.254/32", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", "fd00:ec2::254/128", "fd20:ce::254/128"
)
# Written out, and not left to `is_global`: that differs between Python's patch releases.
_NAMED: tuple[tuple[str, tuple[Network, ...]], ...] = (
    ("a metadata address", _METADATA),
    ("loopback", _networks("127.0.0.0/8", "::1/128")),
    ("unspecified", _networks("0.0.0.0/8", "::/128")),
    ("link-local", _networks("169.254.0.0/16", "fe80::/10", "fec0::/10")),
    ("carrier-grade NAT", _networks("100.64.0.0/10")),
    ("private", _PRIVATE),
    ("multicast", _networks("224.0.0.0/4", "ff00::/8")),
    ("an IPv4 address inside IPv6 (mapped)", _networks("::ffff:0:0/96", "::ffff:0:0:0/96")),
    ("an IPv4 address inside IPv6 (compatible)", _networks("::/96")),
    ("an IPv4 address inside IPv6 (NAT64)", _networks("64:ff9b::/96", "64:ff9b:1::/48")),
    ("an IPv4 address inside IPv6 (6to4)", _networks("2002::/16", "192.88.99.0/24")),
    ("an IPv4 address inside IPv6 (Teredo)", _networks("2001::/32")),
    (
        "reserved",
        _networks(
            "192.0.0.0/24",
            "192.0.2.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "240.0.0.0/4",
            "2001::/23",
            "2001:db8::/32",
            "3fff::/20",
        ),
    ),
)
_GLOBAL_IPV6 = IPv6Network("2000::/3")


def why_refused(address: Address) -> str | None:
    """What kind of address it is, if nothing outside the public internet may be reached. None: it is public."""
    for kind, networks in _NAMED:
        if _is_in(address, networks):
            return kind
    if (isinstance(address, IPv6Address) and address not in _GLOBAL_IPV6) or not address.is_global or address.is_multicast:
        return "reserved"
    return None


def is_private(address: Address) -> bool:
    """Whether it lies in a network of the kind that clusters are made of. Metadata services, which also live there, do not count."""
    return _is_in(address, _PRIVATE) and not _is_in(address, _METADATA)


def read(text: str) -> Address | None:
    """The address that `text` is, in its usual spelling alone. An IPv6 zone is not kept: it would hide the address."""
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _is_in(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
