"""Who may ask for what: pages of this server alone, requests of a sane size, and nothing from elsewhere on the page."""

from __future__ import annotations

import json
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BYTES = 64 * 1024
# A header that only scripts of the same origin can send without asking this server, which never allows it.
MARK = "x-fastconv"
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class SameOrigin:
    """Refuses what pages of other origins ask for, and adds to every answer what browsers must not do with it.

    Another page may link to this one, no more: the browser says where a request comes from.
    """

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        if _is_foreign(scope):
            refusal = PlainTextResponse("this server answers to its own page alone", 403)
            await refusal(scope, receive, send_guarded)
        else:
            await self._app(scope, receive, send_guarded)


def _is_foreign(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    if headers.get("origin", own := f"http://{headers.get('host')}") != own:
        return True
    is_link = scope["path"] == "/" and scope["method"] in ("GET", "HEAD")
    return headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not is_link


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object that a script of the page has sent; raises HTTPException, with the reason, for anything else."""
    if MARK not in request.headers:
        raise HTTPException(403, f"orders need the header {MARK}")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "orders are JSON: content-type must be application/json")
    try:
        value = json.loads(await _read(request))
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"this is no JSON: {error!s:.200}") from None
    if not isinstance(value, dict):
        raise HTTPException(400, f"orders are JSON objects, got {type(value).__name__}")
    return value


async def _read(request: Request) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BYTES:
                raise HTTPException(413, f"orders have at most {MAX_BYTES} bytes")
    except ClientDisconnect:
        raise HTTPException(400, "the request ended early") from None
    return bytes(body)
