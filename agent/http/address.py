"""Addresses of model servers: ``http://HOST:PORT``, ``https://…``, or ``unix:PATH`` for a Unix socket."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from agent.errors import NO_SERVER, ModelUnavailable
from toolkit.lean_imports import absent

with absent("httpx._main"):  # its command line
    import httpx

LONGEST_SOCKET_PATH = 107
"""Bytes that the kernel takes (``sun_path`` of unix(7), without the final zero byte)."""

_UNIX = "unix:"
_OVER_SOCKET = "http://localhost"
"""Scheme and ``Host`` of requests over a Unix socket, which has neither."""


def of_socket(path: Path) -> str:
    """Return the address of the Unix socket at ``path``."""
    return f"{_UNIX}{path}"


def of_tcp(host: str, port: int) -> str:
    """Return the address of a TCP port at the IP address ``host``."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def socket_path(address: str) -> str | None:
    """Return the path of the Unix socket that ``address`` names; None for HTTP addresses."""
    return address.removeprefix(_UNIX) if address.startswith(_UNIX) else None


def http_url(address: str) -> str:
    """Return the URL to which request paths are appended, for a transport that knows the socket."""
    return address if socket_path(address) is None else _OVER_SOCKET


def at_each_address(url: str) -> list[str]:
    """Return ``url`` with each address in place of its host, in an order that stays; IPv6 ones only where there is no
    other: one server may have both. Raises OSError."""
    parts = urlsplit(url)
    found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
    addresses = {family: {str(address[0]) for of, *_, address in found if of == family} for family, *_ in found}
    chosen = addresses.get(socket.AF_INET) or addresses.get(socket.AF_INET6) or set()
    port = "" if parts.port is None else f":{parts.port}"
    hosts = [f"[{address}]" if ":" in address else address for address in sorted(chosen)]
    return [urlunsplit(parts._replace(netloc=f"{host}{port}")) for host in hosts]


def http_client(
    address: str, *, headers: dict[str, str] | None = None, timeout: float | httpx.Timeout | None = None
) -> httpx.Client:
    """Return a client whose ``base_url`` is ``address``. Close it, or use it in a ``with``.

    Threads may share it. It ignores proxies of the environment: they must not get what is meant for a model server.
    """
    path = socket_path(address)
    # Above a number of idle connections, httpcore 1.0 closes one that it has just given to another thread.
    limits = httpx.Limits(max_keepalive_connections=None)
    verify = address.startswith("https:")  # reading the certificates takes longer than a request
    return httpx.Client(
        base_url=http_url(address),
        headers=headers,
        timeout=timeout,
        trust_env=False,
        verify=verify,
        limits=limits,
        transport=None if path is None else httpx.HTTPTransport(uds=path, verify=False, limits=limits),
    )


def is_listening(address: str) -> bool:
    """Return whether the Unix socket that ``address`` names takes connections; True for HTTP addresses.

    httpcore 1.0 leaves its own socket open where it is refused one.
    """
    path = socket_path(address)
    if path is None:
        return True
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(path) == 0


@contextmanager
def asking_server() -> Iterator[None]:
    """Raise ModelUnavailable where a request in the block gets no answer from a model server."""
    try:
        yield
    except httpx.HTTPError as error:
        raise unavailable(error) from error


def unavailable(error: httpx.HTTPError) -> ModelUnavailable:
    """Return the error of a model server that did not answer a request, with the fix."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return ModelUnavailable(NO_SERVER)
    return ModelUnavailable(f"the server went away while answering ({type(error).__name__}); ask again")
