"""The web application: the page's files, the stream of updates, and the orders."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from fastconv.pages.live_training import drawing, messages
from fastconv.pages.live_training.guards import SameOrigin, read_object
from fastconv.pages.live_training.trainer import INTERVAL, Snapshot, Trainer

# Names that lead here; any other in a request's Host is an address that was made to (DNS rebinding).
HOSTS = ["127.0.0.1", "localhost"]
_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def application(trainer: Trainer, is_closing: Callable[[], bool] = lambda: False) -> Starlette:
    """The application over a trainer; streams end once ``is_closing``."""
    site = _Site(trainer, is_closing)
    return Starlette(
        routes=[
            Route("/events", site.events),
            *(Route(f"/{name}", getattr(site, name), methods=["POST"]) for name in ("start", "pause", "reset")),
            Route("/settings", site.settings, methods=["POST"]),
            Route("/predict", site.predict, methods=["POST"]),
            Route("/", site.file),
            Route("/{name}", site.file),
        ],
        middleware=[Middleware(SameOrigin), Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)],
    )


class _Site:
    """The end points. All tabs look at the one trainer, each at a test digit of its own."""

    def __init__(self, trainer: Trainer, is_closing: Callable[[], bool]):
        self._trainer, self._is_closing = trainer, is_closing
        folder = resources.files("fastconv.pages.live_training")
        found = {entry.name: entry for entry in folder.iterdir() if entry.name.endswith(tuple(_KINDS))}
        self._files = {name: (entry.read_bytes(), _KINDS[f".{name.split('.')[-1]}"]) for name, entry in found.items()}

    async def file(self, request: Request) -> Response:
        """One of the files of the page."""
        name = request.path_params.get("name", "page.html")
        if name not in self._files:
            raise HTTPException(404, "there is no such file")
        content, kind = self._files[name]
        return Response(content, media_type=kind)

    async def events(self, request: Request) -> Response:
        """Server-sent events: what does not change, all that has happened, and then what happens."""
        number, count = request.query_params.get("digit", "0"), len(messages.digits().rows)
        if number not in map(str, range(count)):
            raise HTTPException(400, f"digit must be a number below {count}, got {number!r:.40}")
        return StreamingResponse(self._stream(int(number)), media_type="text/event-stream")

    async def _stream(self, number: int) -> AsyncIterator[str]:
        """Whoever reads too slowly misses snapshots, no points of a curve; nothing waits in memory for anybody."""
        yield "retry: 1000\n" + messages.event("about", messages.about(self._trainer))
        before: Snapshot | None = None
        while not self._is_closing():
            snapshot = self._trainer.snapshot
            if snapshot is not before:
                yield messages.event("update", await run_in_threadpool(messages.update, snapshot, number, before))
                before = snapshot
            await asyncio.sleep(INTERVAL / 2)
        yield messages.event("end", {})

    async def start(self, request: Request) -> Response:
        """Train, or go on."""
        return await self._plain_order(request, self._trainer.start)

    async def pause(self, request: Request) -> Response:
        """Stop behind this step."""
        return await self._plain_order(request, self._trainer.pause)

    async def reset(self, request: Request) -> Response:
        """Draw the network anew."""
        return await self._plain_order(request, self._trainer.reset)

    async def settings(self, request: Request) -> Response:
        """Change some of the settings."""
        values = await read_object(request)
        return await _done(self._trainer.change(values))

    async def predict(self, request: Request) -> Response:
        """What the network of the newest snapshot, a copy that nothing changes, makes of a drawing."""
        values = await read_object(request)
        _check_names(values, {"strokes"})
        try:
            strokes = drawing.checked_strokes(values.get("strokes"))
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        return JSONResponse(await run_in_threadpool(self._prediction, strokes))

    def _prediction(self, strokes) -> dict[str, Any]:
        return messages.prediction(self._trainer.snapshot, drawing.digit(strokes))

    async def _plain_order(self, request: Request, give: Callable[[], Future[Snapshot]]) -> Response:
        _check_names(await read_object(request), set())
        return await _done(give())


async def _done(answer: Future[Snapshot]) -> Response:
    """Where the training stands once the order is done."""
    try:
        return JSONResponse(messages.state(await asyncio.wrap_future(answer)))
    except ValueError as error:
        raise HTTPException(400, str(error)) from None


def _check_names(values: dict[str, Any], known: set[str]) -> None:
    if unknown := [name for name in values if name not in known]:
        raise HTTPException(400, f"nothing is known of {unknown[0]!r:.40}")
