"""The live training page, served for real: inside this process, or by the command in one of its own."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from typing import NamedTuple

import httpx

from fastconv.pages.live_training import server
from fastconv.pages.live_training.trainer import Trainer

MARK = {"x-fastconv": "test"}
PATIENCE = 60  # seconds until something that has to come counts as lost


class Live(NamedTuple):
    """A server in a thread, its address, and a client of it."""

    url: str
    trainer: Trainer
    web: object
    client: httpx.Client

    def order(self, name, **values):
        """What the server answers to an order that it does not refuse."""
        answer = self.client.post(f"/{name}", json=values, headers=MARK)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextlib.contextmanager
def served(port=0, **options):
    """A server, on any free port; nothing of it is left afterwards."""
    with server.listen(port) as listener, Trainer(**options) as trainer:
        web = server.web_server(trainer)
        thread = threading.Thread(target=web.run, kwargs={"sockets": [listener]})
        url = server.address(listener)
        thread.start()
        try:
            with httpx.Client(base_url=url, timeout=PATIENCE) as client:
                yield Live(url, trainer, web, client)
        finally:
            web.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive()


@contextlib.contextmanager
def commanded(*arguments, **environment):
    """``fastconv demo --web`` on any free port in a process of its own, and its address."""
    process = started("--port", "0", *arguments, **environment)
    try:
        line = process.stdout.readline()
        assert "http://127.0.0.1:" in line, line + process.communicate()[1]
        yield process, line.split(" on ")[1].split()[0]
    finally:
        process.kill()
        process.communicate()


def started(*arguments, **environment):
    """The command; no browser is opened unless the environment names one."""
    code = "import sys; from fastconv.cli import main; sys.exit(main())"
    silent = [] if environment else ["--no-browser"]
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code, "demo", "--web", *silent, *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def events(response):
    """(name, message) of a stream of server-sent events."""
    name = None
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, json.loads(line[6:])


def until(condition):
    """Wait for what has to come, at most PATIENCE; returns the first true value."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)
    return value
