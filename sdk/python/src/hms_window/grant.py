"""The entry of a grants file that allows a call, as the host says it of the same call."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult

_NEAR = [
    ip_network(network)
    for network in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::1/128",
        "fc00::/7",
    )
]
"""This machine and the networks around it."""


def grant_of(url: SplitResult, method: str) -> str:
    """The line that allows a call of a service and no other, or of a window that the URL names."""
    host = url.hostname or ""
    window = host.removeprefix("hms-svc-").removesuffix(".spin.internal")
    if window != host:
        return grant_of_window(window)
    usual = ":443" if url.scheme == "https" else ":80"
    authority = url.netloc.lower().rpartition("@")[2].removesuffix(usual)
    fields = [
        f"to: {json.dumps(f'{url.scheme}://{authority}')}",
        f"methods: [{json.dumps(method)}]",
        f"paths: [{json.dumps(_literal(url.path))}]",
    ]
    if (network := _network(host)) is not None:
        fields.append(f"private: [{json.dumps(network)}]")
    return f"outbound: [{{{', '.join(fields)}}}]"


def grant_of_window(window: str) -> str:
    """The line that allows a call of a window."""
    return f"calls: [{window}]"


def _network(host: str) -> str | None:
    """The network of an address of this machine or of a network around it, which a grant has to
    name."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return str(ip_network(address)) if any(address in near for near in _NEAR) else None


def _literal(path: str) -> str:
    """A path without what stands for other paths in a pattern."""
    return path.replace("{", "%7B").replace("}", "%7D").replace("*", "%2A") or "/"
