"""``fastconv demo --web``: the page on which a network learns the digits."""

from __future__ import annotations

import argparse
import os
import sys
import threading
import webbrowser


def port(text: str) -> int:
    """An argument that is a port."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a port, 0 to 65535, got {text!r}")
    return int(text)


def run(options) -> int:
    """Listen, say where, open the browser, serve until Ctrl-C."""
    from fastconv import arrays, backends
    from fastconv.pages.live_training import server

    if given := [name for name in ("out", "transfer", "json") if getattr(options, name)]:
        raise ValueError(f"--{given[0]} goes without --web")
    if options.device != arrays.HOST:
        raise ValueError(f"--web trains on the CPU, not on {options.device}")
    server.check_installed()
    with (
        backends.use_backend(options.backend or backends.get_backend()),
        server.listen(server.PORT if options.port is None else options.port) as listener,
    ):
        address = server.address(listener)
        print(f"a network learns the digits on {address} (Ctrl-C ends it)", flush=True)
        if not options.no_browser and _has_browser():
            # In a thread: some browsers return when they are closed.
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        server.serve(listener, seed=options.seed, epochs=options.epochs)
    return 0


def _has_browser() -> bool:
    """Whether a window can be opened; a browser of the terminal would take it away from this command."""
    return not sys.platform.startswith("linux") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))
