"""How requests are sent: options, and the arguments for httpx."""

import re
import ssl
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import httpx

from .errors import OutcomeUnknown, invalid
from .flow import RepeatPolicy
from .protocol import Answer, Request

_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/=]+")
_IDLE_SECONDS = 30.0  # less than the service's idle_timeout_ms, so that the client is the one to close


@dataclass(frozen=True)
class Options:
    """How a limiter sends its calls. Files are read once, when the limiter is made."""

    token: str | None = field(default=None, repr=False)
    """The token that each request carries. Without TLS, whoever reads the network reads it."""
    token_file: str | PathLike[str] | None = None
    """The file that holds the token, in place of `token`."""
    ca_file: str | PathLike[str] | None = None
    """The only certificates to trust, for ``https``. By default the system's."""
    client_certificate: tuple[str | PathLike[str], str | PathLike[str]] | None = None
    """The files of the certificate to show and of its key."""
    request_timeout: float = 5.0
    """How many seconds the service may stay silent in one attempt."""
    connect_timeout: float = 1.0
    """How many seconds connecting may take."""
    connections_max: int = 16
    """The most connections. Further requests wait for one. httpx takes much time for each request if there are many."""
    report: bool = False
    """Whether leases and denials tell what is left of their limits. It costs the service a look-up for each attempt."""
    repeat: RepeatPolicy = field(default_factory=RepeatPolicy)
    """When calls of unknown outcome are repeated."""


def client_arguments(url: str, options: Options) -> dict[str, Any]:
    """The arguments of `httpx.Client` and `httpx.AsyncClient`."""
    if not url.lower().startswith(("http://", "https://")):
        raise invalid(f"the URL of the service must begin with http:// or https://, not be {url!r}")
    token = options.token
    if options.token_file is not None:
        token = Path(options.token_file).read_text().strip()
    if token is not None and not _TOKEN.fullmatch(token):
        raise invalid("a token has letters, digits and -._~+/= only, and is not empty")
    headers = {"content-type": "application/json"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    limits = httpx.Limits(
        max_connections=options.connections_max,
        max_keepalive_connections=options.connections_max,
        keepalive_expiry=_IDLE_SECONDS,
    )
    return {
        "base_url": url,
        "headers": headers,
        "verify": _tls(url, options),
        "timeout": httpx.Timeout(options.request_timeout, connect=options.connect_timeout),
        "limits": limits,
        "trust_env": False,  # no proxy stands between callers and their limiter
    }


def _tls(url: str, options: Options) -> ssl.SSLContext:
    """Whom to trust, and the certificate to show."""
    if not url.lower().startswith("https://"):
        # It trusts nobody. Reading the system's certificates for nothing would take 20 ms.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls = ssl.create_default_context(cafile=options.ca_file)
    if options.client_certificate is not None:
        tls.load_cert_chain(*options.client_certificate)
    return tls


def request_arguments(request: Request) -> dict[str, Any]:
    """The arguments of `request` of an httpx client."""
    if request.body is None:
        return {"method": "GET", "url": request.path}
    return {"method": "POST", "url": request.path, "content": request.body}


def answer_of(response: httpx.Response) -> Answer:
    """Reads an answer; a body that is not JSON is none."""
    try:
        return Answer(response.status_code, response.json())
    except ValueError:
        return Answer(response.status_code, None)


def no_answer(error: httpx.HTTPError) -> OutcomeUnknown:
    """The exception of a request without an answer."""
    return OutcomeUnknown(f"the service did not answer: {error or type(error).__name__}")
