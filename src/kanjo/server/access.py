"""Who may send requests: checks of the headers Host, Origin and Authorization."""

from __future__ import annotations

import hmac
import ipaddress
import re
from dataclasses import dataclass

from kanjo.errors import KanjoError
from kanjo.server.errors import RequestError
from kanjo.server.settings import Settings

#: Characters of a bearer token (RFC 6750, section 2.1: b64token).
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_CREDENTIALS = re.compile(r"(?P<scheme>[^ ]+) +(?P<token>[^ ]+) *")
#: Paths that need no token: the page, which asks the user for the token, and the health check.
_PUBLIC_PATHS = re.compile(r"/(?:healthz|page/[\w.-]+)?")
#: A host name, an IPv4 address, or an IPv6 address in brackets, with an optional port (RFC 9110, section 7.2).
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^\[\]:/@?#\\\s]+)(?::(?P<port>[0-9]{0,5}))?")
_ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<host>.+)", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}
#: Methods that change nothing. Browsers let other pages send them, but not read the response.
_SAFE_METHODS = frozenset(["GET", "HEAD", "OPTIONS"])


@dataclass(frozen=True)
class HostName:
    """A host of a header: its name in lower case, without a final dot and without brackets, and its port."""

    name: str
    port: int | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether the name is "localhost" or a loopback address."""
        return is_loopback_name(self.name)


def parse_host(text: str) -> HostName | None:
    """Read a host with an optional port, as the header ``Host`` contains it; None if it is not valid."""
    match = _HOST.fullmatch(text)
    if match is None:
        return None
    name = match["name"].lower().removesuffix(".")
    port = int(match["port"]) if match["port"] else None
    if not name or (port is not None and port > 65535):
        return None
    if name.startswith("["):
        try:
            name = str(ipaddress.IPv6Address(name[1:-1]))
        except ValueError:
            return None
    return HostName(name, port)


def is_loopback_name(name: str) -> bool:
    """Return whether only this machine can be reached by a host name or IP address."""
    name = name.lower().removesuffix(".")
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def check_settings(settings: Settings) -> None:
    """Check who can reach the service with these settings.

    Raises:
        KanjoError: Other machines can reach it without a token, or the token is not valid.
    """
    if settings.token and not _TOKEN.fullmatch(settings.token):
        raise KanjoError(
            "the token contains a character that a bearer token can't have; expected ASCII letters, digits and "
            "- . _ ~ + /, such as the output of: openssl rand -hex 16"
        )
    if not (settings.token or settings.insecure or is_loopback_name(settings.host)):
        raise KanjoError(
            f"other machines can reach the service at host {settings.host or '0.0.0.0'}, and it has no token; set one "
            "with --token or the environment variable KANJO_TOKEN, or accept every client with --insecure"
        )


def check_host(headers: dict[str, str], settings: Settings) -> None:
    """Refuse foreign host names on a loopback address, which protects from DNS rebinding.

    With a token, any name is accepted: a foreign page does not know the token, and a proxy may pass its own name.

    Raises:
        RequestError: The host is not a name of this machine.
    """
    text = headers.get("host", "")
    if not text or settings.token or not is_loopback_name(settings.host):
        return
    host = parse_host(text)
    if host is None or not host.is_loopback:
        message = f"host {text}: this service accepts requests to localhost and to loopback addresses only"
        raise RequestError(421, "wrong_host", message)


def check_origin(method: str, headers: dict[str, str]) -> None:
    """Refuse requests of pages of other sites.

    Args:
        method: HTTP method, or "WEBSOCKET".
        headers: Headers of the request.

    Raises:
        RequestError: The header ``Origin`` names another site than the header ``Host``.
    """
    origin = headers.get("origin")
    if origin is None or method in _SAFE_METHODS:
        return
    match = _ORIGIN.fullmatch(origin)
    source, target = parse_host(match["host"]) if match else None, parse_host(headers.get("host", ""))
    if match and source and target:
        default_port = _DEFAULT_PORTS[match["scheme"].lower()]
        if source.name == target.name and (source.port or default_port) == (target.port or default_port):
            return
    raise RequestError(403, "wrong_origin", f"origin {origin}: this service accepts requests of its own page only")


def check_token(path: str, headers: dict[str, str], settings: Settings) -> None:
    """Check the bearer token (RFC 6750).

    Raises:
        RequestError: The token is missing or wrong.
    """
    if not settings.token or _PUBLIC_PATHS.fullmatch(path):
        return
    credentials = _CREDENTIALS.fullmatch(headers.get("authorization", "").strip(" "))
    if credentials is None or credentials["scheme"].lower() != "bearer":
        message = "a bearer token is required; send the header Authorization: Bearer TOKEN"
        raise RequestError(401, "unauthorized", message, {"www-authenticate": 'Bearer realm="kanjo"'})
    if not token_matches(credentials["token"], settings.token):
        challenge = 'Bearer realm="kanjo", error="invalid_token", error_description="the token is wrong"'
        raise RequestError(401, "unauthorized", "the bearer token is wrong", {"www-authenticate": challenge})


def token_matches(token: object, expected: str) -> bool:
    """Compare two tokens in constant time, so that the duration gives no hint about the expected token."""
    content = token if isinstance(token, str) else ""
    return hmac.compare_digest(content.encode("utf-8", "surrogatepass"), expected.encode())
