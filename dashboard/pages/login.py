"""Signing in with an API key, and out."""

from starlette.responses import RedirectResponse, Response

from agent.http.http_error import HttpError
from dashboard.desk import Desk, Visit, see
from dashboard.sessions import COOKIE, SECONDS


def form(desk: Desk, visit: Visit) -> Response:
    """Return the form that asks for a key."""
    return desk.page(visit, "login.html")


def sign_in(desk: Desk, visit: Visit) -> Response:
    """Give the cookie to who has a good key. Raises HttpError for any other."""
    identity = desk.sessions.sign_in(visit.form.get("key", ""))
    if identity is None:
        raise HttpError(401, "this is no API key, or it was revoked; make one with: agent keys create NAME")
    answer: RedirectResponse = see(visit, "")
    answer.set_cookie(
        COOKIE,
        identity,
        max_age=SECONDS,
        path=visit.base or "/",
        secure=visit.request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return answer


def sign_out(desk: Desk, visit: Visit) -> Response:
    """End the session and take the cookie back."""
    desk.sessions.sign_out(visit.request.headers)
    answer = see(visit, "login")
    answer.delete_cookie(COOKIE, path=visit.base or "/", httponly=True, samesite="strict")
    return answer
