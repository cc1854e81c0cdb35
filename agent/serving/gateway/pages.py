"""Web pages beside the API. The package that has them stands above this one, and is found by its entry point."""

from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points

from starlette.types import ASGIApp

from agent.config import Config
from agent.http.http_error import HttpError
from agent.serving.gateway.access.auth import Access
from toolkit.errors import UserError

GROUP = "apprentice.pages"
"""Entry points: the name is the path below which the pages are shown; the object is called with the configuration and
the gateway's ``Access``, and returns an ASGI application. It raises UserError where the configuration has no use."""

Pages = Callable[[Access], ASGIApp]


def installed(config: Config, say: Callable[[str], None]) -> dict[str, Pages]:
    """Return the pages of the installed packages, by path. Those that cannot be shown are said, and left out."""
    return {f"/{found.name}": partial(_made, found.load(), config, say) for found in entry_points(group=GROUP)}


def _made(
    make: Callable[[Config, Access], ASGIApp], config: Config, say: Callable[[str], None], access: Access
) -> ASGIApp:
    try:
        return make(config, access)
    except UserError as error:
        say(f"no dashboard: {error}")
        return HttpError(503, f"there is no dashboard: {error}").response()
