"""The server: an address of this machine that no other one reaches, and its end on Ctrl-C."""

from __future__ import annotations

import errno
import logging
import os
import socket
from typing import TYPE_CHECKING

from fastconv.errors import missing_extra

if TYPE_CHECKING:
    import uvicorn

    from fastconv.pages.live_training.trainer import Trainer

HOST, PORT = "127.0.0.1", 8642
# Seconds that requests which are being answered may take after Ctrl-C; streams end at once.
_GRACE = 1


def check_installed() -> None:
    """Raise BackendUnavailableError, with the pip line, where the web packages are missing."""
    for package in ("starlette", "uvicorn"):
        try:
            __import__(package)
        except ImportError:
            raise missing_extra(package, "web", "the live training page") from None


def listen(port: int = PORT) -> socket.socket:
    """A socket that this machine alone can connect to; port 0 is any free one. Raises OSError with the way out."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # ports of servers that have just ended are free; elsewhere it would mean to share one
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be opened ({error.strerror})"
        raise OSError(
            f"port {port} of {HOST} {reason}; another one can be given with --port, and --port 0 takes any free one"
        ) from None
    return listener


def address(listener: socket.socket) -> str:
    """Where the page is."""
    return f"http://{HOST}:{listener.getsockname()[1]}/"


def web_server(trainer: Trainer) -> uvicorn.Server:
    """What answers requests: ``run(sockets=[listener])`` does until Ctrl-C, or until ``should_exit`` is set."""
    import uvicorn

    from fastconv.pages.live_training.app import application

    config = uvicorn.Config(
        application(trainer, lambda: server.should_exit),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
    )
    server = uvicorn.Server(config)
    return server


def serve(listener: socket.socket, *, seed: int = 0, epochs: int | None = None) -> None:
    """Answer until Ctrl-C, which is raised as KeyboardInterrupt once nothing runs any more.

    The weights are drawn from ``seed``; training ends after so many ``epochs`` (default: 100).
    """
    from fastconv.pages.live_training.settings import EPOCHS
    from fastconv.pages.live_training.trainer import Trainer

    with listener, Trainer(seed, epochs or EPOCHS) as trainer:
        web = web_server(trainer)
        log = logging.getLogger("uvicorn.error")

        def is_wanted(record: logging.LogRecord) -> bool:
            return not web.should_exit  # what Ctrl-C cuts off is no error

        log.addFilter(is_wanted)
        try:
            web.run(sockets=[listener])
        finally:
            log.removeFilter(is_wanted)
