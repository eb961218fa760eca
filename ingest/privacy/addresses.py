"""IP addresses: cut to the network that they are in."""

from __future__ import annotations

import ipaddress

#: What SDKs call an address, in props, in context, in the verbatim event.
NAMES = frozenset(
    {
        *("ip", "$ip", "IP", "ip_address", "$ip_address", "ipAddress", "user_ip", "userIp"),
        *("client_ip", "$client_ip", "clientIp", "clientIP", "remote_addr", "remoteAddr", "remote_address", "remoteAddress"),
    }
)
_V4_PREFIX, _V6_PREFIX = 24, 48


def truncated(text: str) -> str:
    """The address's /24 or /48 network; a text that is no address is nothing ("")."""
    try:
        address = ipaddress.ip_address(text.strip().strip("[]").partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    prefix = _V4_PREFIX if address.version == 4 else _V6_PREFIX
    return str(ipaddress.ip_network(f"{address}/{prefix}", strict=False).network_address)
