"""Where a request came from: the sender's address, past the proxies that are ours. Pure.

    sender ──▶ proxy of ours ──▶ proxy of ours ──▶ here
               X-Forwarded-For:  X-Forwarded-For:      peer
               forged, sender    forged, sender, proxy  proxy

Each proxy appends whom it heard. Read from the right, the first address that is none of ours is the sender; what stands
left of it, the sender can have written himself.
"""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Longer chains of proxies are nobody's.
_MOST_HOPS = 8
# No address is as long as this; what is looked up is also kept.
_LONGEST_HOP = 64


def sender(peer: str, forwarded: str, trusted: Iterable[Network]) -> str:
    """The last address in the chain that is no trusted proxy's; "" for what is none. `forwarded`: X-Forwarded-For.

    An empty `peer` is a Unix socket, which only our own proxy can open: whom it heard stands last.
    """
    trusted = tuple(trusted)
    if not peer:
        forwarded, _, peer = forwarded.rpartition(",")
        peer = peer.strip()[:_LONGEST_HOP]
    if not trusted:
        return address_text(peer)
    source = peer
    for hop in reversed([*forwarded.split(","), peer][-_MOST_HOPS:]):
        text = address_text(hop.strip()[:_LONGEST_HOP])
        if not text:
            break
        source = text
        if not any(ipaddress.ip_address(text) in network for network in trusted):
            break
    return address_text(source)


def is_trusted(peer: str | None, trusted: Iterable[Network]) -> bool:
    """Whether a request comes from a proxy of ours: over a Unix socket (""), or from one of these networks."""
    if not peer:
        return peer == ""
    text = address_text(peer)
    return bool(text) and any(ipaddress.ip_address(text) in network for network in trusted)


@lru_cache(maxsize=4096)
def address_text(text: str) -> str:
    """An address as it is usually written; "" for what is none. What follows a `%` can be anything: left out."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    # How a socket for both families names an IPv4 address; networks of proxies are given as IPv4.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """What one customer has: an IPv4 address, or the IPv6 /48 around it; "" for what is no address."""
    text = address_text(address)
    return str(ipaddress.ip_network((text, 48), strict=False)) if ":" in text else text
