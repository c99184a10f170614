"""The server of the live training page: who may ask, what comes back, and how it ends."""

import contextlib
import json
import logging
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from support.live import MARK, commanded, events, served, until

from fastconv import cli
from fastconv.pages.live_training import app, guards, server

ORDERS = ("start", "pause", "reset", "settings", "predict")
JSON = {**MARK, "content-type": "application/json"}
STROKES = [[[0.5, 0.1], [0.5, 0.9]]]


@pytest.fixture(scope="module")
def live():
    with served() as running:
        yield running


@pytest.fixture
def untouched(live):
    """The server; whatever the test sent must have changed nothing."""
    before = live.trainer.snapshot
    yield live
    assert live.trainer.snapshot is before


def test_the_page_and_its_files_come_from_here_alone(live):
    page = live.client.get("/")
    names = set(re.findall(r'(?:src|href)="([^"]+)"', page.text))
    assert {"main.js", "style.css", "icon.svg"} == names
    assert not re.findall(r"<style|<script(?![^>]* src=)|\son\w+=|\sstyle=", page.text)
    while names:
        name = names.pop()
        answer = live.client.get(name)
        assert answer.status_code == 200, name
        assert answer.headers["content-type"].split(";")[0] in ("text/javascript", "text/css", "image/svg+xml")
        assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(", answer.text), name
        if name.endswith(".js"):
            names |= set(re.findall(r'from "\./(\w+\.js)"', answer.text))


@pytest.mark.parametrize("path", ["/", "/main.js", "/absent", "/events?digit=99"])
def test_every_answer_forbids_what_does_not_come_from_here(live, path):
    headers = live.client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert not [name for name in headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/absent", "/settings.py", "/..%2fapp.py", "/__init__.py", "/%00"])
def test_there_are_no_other_files(untouched, path):
    assert untouched.client.get(path).status_code in (404, 405)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "0.0.0.0"])
@pytest.mark.parametrize("path", ["/", "/events", "/start"])
def test_other_names_of_this_address_are_refused(untouched, host, path):
    method = "POST" if path == "/start" else "GET"
    answer = untouched.client.request(
        method, path, headers={"host": host, **MARK}, json={} if method == "POST" else None
    )
    assert answer.status_code in (400, 403)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "http://localhost"},
        {"origin": "https://{host}"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=lambda headers: " ".join(headers.values()),
)
def test_other_origins_cannot_give_orders(untouched, order, headers):
    host = untouched.url.split("/")[2]
    headers = {name: value.format(host=host) for name, value in headers.items()}
    answer = untouched.client.post(f"/{order}", json={}, headers={**MARK, **headers})
    assert (answer.status_code, answer.text) == (403, "this server answers to its own page alone")


def test_other_pages_can_link_here_and_neither_read_nor_listen(untouched):
    foreign = {"sec-fetch-site": "cross-site"}
    assert untouched.client.get("/", headers=foreign).status_code == 200
    for path in ("/events", "/main.js"):
        assert untouched.client.get(path, headers=foreign).status_code == 403
    asked = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    assert untouched.client.options("/start", headers=asked).status_code == 403


def test_the_own_page_can_give_orders_by_both_names(live):
    port = live.url.split(":")[-1].strip("/")
    for name in ("127.0.0.1", "localhost"):
        headers = {**MARK, "host": f"{name}:{port}", "origin": f"http://{name}:{port}", "sec-fetch-site": "same-origin"}
        assert live.client.post("/pause", json={}, headers=headers).status_code == 200


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        ({"json": {}, "headers": {}}, 403, "need the header x-fastconv"),
        ({"content": "{}", "headers": {**MARK, "content-type": "text/plain"}}, 415, "must be application/json"),
        ({"content": "{}", "headers": MARK}, 415, "must be application/json"),
        ({"data": {"a": "b"}, "headers": MARK}, 415, "must be application/json"),
        ({"json": [], "headers": MARK}, 400, "JSON objects, got list"),
        ({"json": None, "headers": MARK}, 415, "must be application/json"),
        ({"json": "x", "headers": MARK}, 400, "got str"),
        ({"json": {"unheard": 1}, "headers": MARK}, 400, "'unheard'"),
        ({"content": json.dumps({"é\ud800" * 50: 1}), "headers": JSON}, 400, "é\\ud800"),
    ],
)
def test_wrong_orders_are_refused_in_words(untouched, order, request_, status, words):
    answer = untouched.client.post(f"/{order}", **request_)
    assert answer.status_code == status
    assert words in answer.text
    assert len(answer.text) < 300


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"nonsense",
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b"1" * 5000,
        b"NaN",
        b"null",
        b"\x00" * 100,
    ],
    ids=lambda body: repr(body[:9]),
)
def test_what_is_no_json_object_is_refused_in_words(untouched, order, body):
    answer = untouched.client.post(f"/{order}", content=body, headers=JSON)
    assert answer.status_code == 400
    assert "JSON" in answer.text
    assert len(answer.text) < 300


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("is_chunked", [False, True])
def test_large_orders_are_refused(untouched, order, is_chunked):
    body = b'{"a": "' + b"x" * guards.MAX_BYTES + b'"}'
    answer = untouched.client.post(f"/{order}", content=iter([body]) if is_chunked else body, headers=JSON)
    assert answer.status_code == 413
    assert "at most 65536 bytes" in answer.text


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_orders_are_posted(untouched, method):
    for order in ORDERS:
        assert untouched.client.request(method, f"/{order}").status_code in (404, 405)
    assert untouched.client.post("/events", json={}, headers=MARK).status_code == 405


@pytest.mark.parametrize("digit", ["20", "-1", "x", "", "1.0", "٣", "9" * 5000])
def test_there_are_twenty_digits_to_follow(untouched, digit):
    answer = untouched.client.get("/events", params={"digit": digit})
    assert answer.status_code == 400
    assert "digit must be a number below 20" in answer.text
    assert len(answer.text) < 200


@pytest.mark.parametrize("values", [{"pace": 3}, {"pace": "fast"}, {"learning_rate": 1e400}, {"strokes": []}])
def test_settings_that_are_not_offered_are_refused(untouched, values):
    body = json.dumps(values)
    answer = untouched.client.post("/settings", content=body, headers=JSON)
    assert answer.status_code == 400
    assert "must be one of" in answer.text or "there is no setting" in answer.text


@pytest.mark.parametrize("strokes", [[], None, [[[0.1, 2]]], [[[0.1, 0.1]] * 501], 1])
def test_drawings_that_are_none_are_refused(untouched, strokes):
    answer = untouched.client.post("/predict", json={"strokes": strokes}, headers=MARK)
    assert answer.status_code == 400
    assert "points" in answer.text or "strokes" in answer.text


def test_a_request_that_ends_early_harms_nobody(untouched):
    address = untouched.client.base_url.host, untouched.client.base_url.port
    head = f"POST /pause HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nContent-Type: application/json\r\n"
    for _ in range(3):
        with socket.create_connection(address) as raw:
            raw.sendall(f"{head}X-Fastconv: 1\r\nContent-Length: 100\r\n\r\n{{".encode())
    with socket.create_connection(address) as raw:
        raw.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
        assert b" 400 " in raw.recv(100)
    assert untouched.client.get("/").status_code == 200


def test_a_stream_tells_what_has_happened_and_what_happens():
    with served() as live, live.client.stream("GET", "/events?digit=4") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        told = events(response)
        name, about = next(told)
        assert (name, about["epochs"], len(about["digits"]), about["digits"][4]["label"]) == ("about", 100, 20, 2)
        name, update = next(told)
        assert (name, update["status"], update["begin"]) == ("update", "ready", {"steps": 0, "tests": 0})
        assert live.order("settings", pace=0)["settings"]["pace"] == 0
        assert live.order("start")["status"] == "running"
        losses, tests = [], update["tests"]
        for _, update in told:
            del losses[update["begin"]["steps"] :], tests[update["begin"]["tests"] :]
            losses += update["losses"]
            tests += update["tests"]
            if update["step"] >= 120:
                break
        assert len(losses) == update["step"]
        assert np.mean(losses[-20:]) < 0.5 < 2 < losses[0]
        assert tests[-1][2] > 0.85
        assert live.order("reset")["step"] == 0
        begun = next(update for _, update in told if update["lesson"] == 2)
        assert (begun["begin"], begun["losses"]) == ({"steps": 0, "tests": 0}, [])


def test_all_tabs_see_the_same_training_each_with_its_own_digit():
    with served() as live, contextlib.ExitStack() as tabs:
        both = [events(tabs.enter_context(live.client.stream("GET", f"/events?digit={n}"))) for n in (0, 19)]
        for told in both:
            next(told)
        live.order("start")
        live.order("settings", pace=50)
        until(lambda: live.trainer.snapshot.step >= 10)
        step = live.order("pause")["step"]
        first, second = (next(message for _, message in told if message["status"] == "paused") for told in both)
        assert first["step"] == second["step"] == step
        assert first["probabilities"] == second["probabilities"]
        assert first["layers"] != second["layers"]


def test_a_drawing_is_read_by_one_network_while_it_learns():
    with served() as live:
        live.order("settings", pace=0)
        live.order("start")
        looks = {}
        for _ in range(40):
            looks[live.trainer.snapshot.step] = live.trainer.snapshot
            answer = live.order("predict", strokes=STROKES)
            assert sum(answer["probabilities"]) == pytest.approx(1, abs=1e-4)
            looks[live.trainer.snapshot.step] = live.trainer.snapshot
            if answer["step"] in looks:
                image = app.drawing.digit(app.drawing.checked_strokes(STROKES))
                expected = app.messages.prediction(looks[answer["step"]], image)
                assert answer == json.loads(json.dumps(expected))
        assert live.trainer.snapshot.step > 0
        assert live.trainer.snapshot.status == "running"


def test_closed_tabs_leave_nothing_and_training_goes_on():
    with served() as live:
        live.order("start")
        threads = threading.active_count()
        for _ in range(3):
            with contextlib.ExitStack() as tabs:
                told = [events(tabs.enter_context(live.client.stream("GET", "/events"))) for _ in range(8)]
                assert [next(one)[0] for one in told] == ["about"] * 8
                assert len(live.web.server_state.tasks) == 8
            until(lambda: len(live.web.server_state.tasks) == 0)
            until(lambda: len(live.web.server_state.connections) <= 1)  # the client's own
        step = live.trainer.snapshot.step
        until(lambda: live.trainer.snapshot.step > step)
        assert threading.active_count() <= threads + 40  # the pool of the event loop; it goes with it
    until(lambda: threading.active_count() < threads)


def test_streams_end_when_the_server_does():
    with served() as live, live.client.stream("GET", "/events") as response:
        told = events(response)
        next(told)
        live.web.should_exit = True
        assert [name for name, _ in told][-1] == "end"


# ---- the command


def test_a_busy_port_is_named_with_the_way_out(capsys):
    with server.listen(0) as listener:
        port = listener.getsockname()[1]
        assert cli.main(["demo", "--web", "--no-browser", "--port", str(port)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"fastconv: port {port} of 127.0.0.1 is in use")
    assert "--port 0 takes any free one" in error


def test_a_port_that_has_just_been_used_can_be_used_again():
    with served() as live:
        port = live.client.base_url.port
        live.client.get("/")
    server.listen(port).close()


def test_two_servers_train_side_by_side():
    with commanded("--seed", "1") as (_, one), commanded("--seed", "2") as (_, other):
        assert one != other
        for url in (one, other):
            assert httpx.post(f"{url}start", json={}, headers=MARK).json()["status"] == "running"
        losses = []
        for url in (one, other):
            with httpx.stream("GET", f"{url}events", timeout=60) as response:
                losses.append(
                    next(message for name, message in events(response) if name == "update" and message["step"])[
                        "losses"
                    ]
                )
        assert losses[0][0] != losses[1][0]


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
@pytest.mark.parametrize("state", ["idle", "training", "watched"])
def test_ctrl_c_ends_it(state):
    with commanded() as (process, url):
        address = "127.0.0.1", int(url.split(":")[-1].strip("/"))
        raw = socket.create_connection(address)
        if state != "idle":
            httpx.post(f"{url}settings", json={"pace": 0}, headers=MARK)
            httpx.post(f"{url}start", json={}, headers=MARK)
        if state == "watched":
            raw.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert raw.recv(15) == b"HTTP/1.1 200 OK"
            threading.Thread(target=_drain, args=(raw,), daemon=True).start()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=20)
        assert (process.returncode, error) == (130, "interrupted\n")
        assert "Traceback" not in out
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        raw.close()


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_ctrl_c_does_not_wait_for_a_tab_that_no_longer_reads():
    code = """
import socket
from fastconv.pages.live_training import server
listener = server.listen(0)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
print(listener.getsockname()[1], flush=True)
try:
    server.serve(listener)
except KeyboardInterrupt:
    print("ended")
"""
    process = subprocess.Popen([sys.executable, "-P", "-c", code], stdout=-1, stderr=-1, text=True)
    address = "127.0.0.1", int(process.stdout.readline())
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        raw.connect(address)
        raw.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        httpx.post(f"http://127.0.0.1:{address[1]}/start", json={}, headers=MARK)
        time.sleep(2)  # by now more has been sent than there is room for
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20) == ("ended\n", "")
        assert process.returncode == 0


def test_a_server_that_has_ended_hides_no_errors_of_another_one(monkeypatch):
    log = logging.getLogger("uvicorn.error")
    before = list(log.filters)
    ended = SimpleNamespace(should_exit=True, run=lambda sockets: None)
    monkeypatch.setattr(server, "web_server", lambda trainer: ended)
    server.serve(server.listen(0))
    assert log.filters == before


def _drain(raw):
    while raw.recv(65536):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_a_termination_ends_it_too():
    with commanded() as (process, url), httpx.stream("GET", f"{url}events") as response:
        next(events(response))
        process.terminate()
        assert process.wait(20) == -signal.SIGTERM


def test_other_addresses_of_this_machine_are_not_open(live):
    port = live.client.base_url.port
    others = {"127.0.0.2", _address_to_the_outside()} - {None}
    for address in others:
        with pytest.raises(OSError):  # noqa: PT011 - refused, or no such address
            socket.create_connection((address, port), timeout=5)
    assert live.client.get("/").status_code == 200


def _address_to_the_outside():
    """An address of this machine that others could connect to; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            found = probe.getsockname()[0]
        except OSError:
            found = socket.gethostbyname(socket.gethostname())
    return None if found == server.HOST else found


@pytest.mark.skipif(sys.platform == "win32", reason="the browser is a shell script")
def test_a_browser_is_opened_unless_it_is_not_wanted(tmp_path):
    browser, asked = tmp_path / "browser", tmp_path / "asked"
    browser.write_text(f'#!/bin/sh\necho "$1" > {asked}.new && mv {asked}.new {asked}\n')
    browser.chmod(0o755)
    with commanded("--no-browser", BROWSER=str(browser)) as (_, url):
        httpx.get(url)
        assert not asked.exists()
    with commanded(BROWSER=str(browser)) as (_, url):
        until(asked.exists)
        assert asked.read_text().strip() == url


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_a_missing_package_is_named_with_the_pip_line(package, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    assert cli.main(["demo", "--web", "--no-browser", "--port", "0"]) == 1
    assert f"'{package}', which is not installed: pip install 'fastconv[web]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "1"], "go with --web"),
        (["--no-browser"], "go with --web"),
        (["--web", "--out", "x.png"], "--out goes without --web"),
        (["--web", "--json", "x.json"], "--json goes without --web"),
        (["--web", "--transfer"], "--transfer goes without --web"),
        (["--web", "--backend", "cuda9"], "no backend 'cuda9'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments, words, capsys):
    assert cli.main(["demo", *arguments]) == 1
    assert words in capsys.readouterr().err


def test_the_help_names_the_usual_port(capsys):
    with pytest.raises(SystemExit):
        cli.main(["demo", "--help"])
    assert f"(default: {server.PORT})" in capsys.readouterr().out


@pytest.mark.parametrize("port", ["-1", "65536", "x", "8.0", ""])
def test_a_port_is_a_number(port, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["demo", "--web", f"--port={port}"])
    assert stop.value.code == 2
    assert "must be a port, 0 to 65535" in capsys.readouterr().err


def test_the_command_needs_no_web_packages_for_anything_else():
    code = """
import sys
sys.modules.update(starlette=None, uvicorn=None)
from fastconv.cli import main
main(["demo", "--help"])
"""
    told = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert "--web" in told.stdout
