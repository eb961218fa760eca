"""Who a request comes from, when proxies stand in between. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from ingest.contract.errors import ConfigError

Network = IPv4Network | IPv6Network
_MAX_HOPS = 32


def read_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Networks from `10.0.0.0/8` or single addresses. Raises ConfigError."""
    found = []
    for text in texts:
        try:
            found.append(ip_network(text.strip()))
        except ValueError as error:
            raise ConfigError(
                f'collector.trusted_proxies has "{text}": expected a network such as 10.0.0.0/8 ({error})'
            ) from error
    return tuple(found)


def client_address(peer: str, forwarded: Sequence[str], header: str, trusted: tuple[Network, ...]) -> str:
    """The address of the client: the peer's, unless that is a trusted proxy.

    Then the right-most address of the header that is no trusted proxy: each proxy appends whom it saw, so what is further left
    was written by somebody who is not trusted. An entry that is no address ends the walk at the proxy that wrote it.

    peer       whom the connection comes from, without the port
    forwarded  the values of the header, in their order; `header` is its name: X-Forwarded-For or Forwarded
    """
    address = _address(peer)
    if address is None or not forwarded or not is_within(address, trusted):
        return str(address) if address else peer
    entries = ",".join(forwarded).rsplit(",", _MAX_HOPS)
    for entry in reversed(entries):
        found = _address(_for(entry) if header.lower() == "forwarded" else entry.strip())
        if found is None:
            break
        address = found
        if not is_within(address, trusted):
            break
    return str(address)


@lru_cache(maxsize=4096)
def bucket_name(address: str) -> str:
    """What an address counts as for limits: itself, or its /64 network, which an IPv6 client has all of."""
    found = _address(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((int(found) >> 64 << 64, 64)))
    return address


def is_proxy(peer: str, trusted: tuple[Network, ...]) -> bool:
    """Whether a connection comes from a trusted proxy."""
    address = _address(peer)
    return address is not None and is_within(address, trusted)


def is_within(address: IPv4Address | IPv6Address, networks: tuple[Network, ...]) -> bool:
    """Whether an address lies in one of the networks."""
    return any(address in network for network in networks)


def _for(entry: str) -> str:
    """The `for` of an element of a Forwarded header (RFC 7239); "" when it has none."""
    for pair in entry.split(";"):
        name, _, value = pair.partition("=")
        if name.strip().lower() == "for":
            return value.strip().strip('"')
    return ""


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address with or without port, brackets and zone; an IPv4 address that IPv6 carries is that IPv4 address."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found
