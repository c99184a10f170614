"""Names on the hub: asked, downloaded, checked, recorded; and what is said without a network."""

import doctest
import hashlib
import http.server
import json
import threading

import numpy as np
import pytest

from fastconv import models, weights
from fastconv.datasets import DataUnavailableError
from fastconv.files import hub
from fastconv.models import registry
from fastconv.training import network_files

NAME = "timm/digits_net.test"
ASKED = f"/{NAME}/resolve/main/model.safetensors"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the hub does: a HEAD describes the file and sends on to where it lies."""

    def do_HEAD(self):
        server = self.server
        server.asked.append((self.command, self.path))
        if self.path == "/old/name/resolve/main/model.safetensors":
            return self.answer(307, Location=ASKED)
        if self.path.startswith("/moved/away/"):
            return self.answer(307, Location=f"//localhost:{server.server_port}{ASKED}")
        if self.path != ASKED:
            return self.answer(404)
        self.answer(302, Location=f"{server.url}/blob", **server.described)

    def do_GET(self):
        server = self.server
        server.asked.append((self.command, self.path))
        if self.path != "/blob":
            return self.answer(302, Location=f"{server.url}/blob")
        self.answer(200, **{"Content-Length": str(len(server.content))})
        self.wfile.write(server.content)

    def answer(self, code, **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def saved(tmp_path):
    model = models.digits_net(4)
    weights.save(model.state_dict(), tmp_path / "saved.safetensors")
    return model, (tmp_path / "saved.safetensors").read_bytes()


@pytest.fixture
def server(monkeypatch, tmp_path, saved):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("FASTCONV_HOME", str(tmp_path / "home"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.url, server.content, server.asked = f"http://127.0.0.1:{server.server_port}", saved[1], []
        digest = hashlib.sha256(saved[1]).hexdigest()
        server.described = {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(saved[1]))}
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_name_is_fetched_once_checked_and_loaded(server, saved, tmp_path):
    for name in (NAME, f"hub:{NAME}", f"hub:{NAME}/model.safetensors"):
        model = models.digits_net(weights=name)
        np.testing.assert_array_equal(model.fc.weight.numpy(), saved[0].fc.weight.numpy())
    assert server.asked == [("HEAD", ASKED), ("GET", ASKED), ("GET", "/blob")]
    folder = tmp_path / "home" / "weights" / "timm" / "digits_net.test"
    record = json.loads((folder / "model.safetensors.json").read_text())
    assert record["sha256"] == hashlib.sha256(saved[1]).hexdigest()
    assert sorted(path.name for path in folder.iterdir() if path.suffix != ".lock") == [
        "model.safetensors",
        "model.safetensors.json",
    ]


def test_commands_take_names_on_the_hub(server, saved):
    loaded = network_files.load_network(NAME, "digits_net")
    np.testing.assert_array_equal(loaded.model.fc.weight.numpy(), saved[0].fc.weight.numpy())


def test_a_damaged_copy_is_fetched_again(server, saved):
    path = hub.fetch(NAME)
    path.write_bytes(saved[1][:-1] + b"?")
    with pytest.warns(UserWarning, match="kept as model.safetensors.refused"):
        assert hub.fetch(NAME).read_bytes() == saved[1]


def test_the_hub_is_asked_anew_when_the_file_is_gone(server, saved):
    path = hub.fetch(NAME)
    path.unlink()
    server.content = saved[1] + b" "
    digest = hashlib.sha256(server.content).hexdigest()
    server.described = {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(server.content))}
    assert hub.fetch(NAME).read_bytes() == server.content
    assert json.loads(path.with_name(f"{path.name}.json").read_text())["sha256"] == digest


def test_records_are_no_weights_and_decide_what_was_downloaded(server, saved):
    path = hub.fetch(NAME)
    for ending in (".json", ".lock", ".part", ".refused", ".JSON"):
        with pytest.raises(ValueError, match="lies beside weights"):
            hub.fetch(f"hub:{NAME}/model.safetensors{ending}")
    path.with_name(f"{path.name}.json").unlink()
    path.write_bytes(b"one's own")
    assert hub.fetch(NAME).read_bytes() == b"one's own"


def test_other_bytes_than_announced_are_refused(server, saved):
    server.content = saved[1][:-1] + b"?"
    with pytest.raises(DataUnavailableError, match="SHA-256 is"):
        hub.fetch(NAME)
    server.described = {"ETag": '"0123"'}
    with pytest.raises(DataUnavailableError, match=r"could not be asked \(HTTP Error 404"):
        hub.fetch(NAME)


def test_other_servers_are_not_asked(server):
    with pytest.raises(DataUnavailableError, match=r"could not be asked \(HTTP Error 307"):
        hub.fetch("moved/away")
    assert len(server.asked) == 1


def test_renamed_repositories_are_followed_and_absent_ones_named(server):
    assert hub.fetch("old/name").is_file()
    with pytest.raises(
        DataUnavailableError, match=r"/absent/name/resolve/main/model\.safetensors could not be asked .*404"
    ):
        hub.fetch("absent/name")


def test_without_a_network_the_error_says_what_to_do(monkeypatch, tmp_path, saved):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("FASTCONV_HOME", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(FileNotFoundError) as caught:
        models.digits_net(weights=NAME)
    path = tmp_path / "weights" / "timm" / "digits_net.test" / "model.safetensors"
    for part in ("http://127.0.0.1:1" + ASKED, f"put the file at {path}", "FASTCONV_HOME", "refused"):
        assert part in str(caught.value)
    path.parent.mkdir(parents=True)
    path.write_bytes(saved[1])
    np.testing.assert_array_equal(models.digits_net(weights=NAME).fc.bias.numpy(), saved[0].fc.bias.numpy())


def test_what_is_a_name_and_what_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    suffixes = weights.suffixes()
    names = ["timm/resnet18.tv_in1k", "a/b", "hub:a/b", "hub:a/b/c.safetensors"]
    paths = ["a/b.npz", "a/b.SafeTensors", "a/b/c", "model.npz", "/a/b", "../a/b", tmp_path, b"a/b"]
    assert [hub.is_name(source, suffixes) for source in [*names, *paths]] == [True] * 4 + [False] * 8
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").touch()
    assert not hub.is_name("a/b", suffixes)
    for name in ("hub:a", "hub:../a", "hub:a/../b", "hub:a/b/../c", "hub:a/.b"):
        with pytest.raises(ValueError, match="not of the form"):
            hub.fetch(name)
    assert doctest.testmod(hub).failed == doctest.testmod(registry).failed == 0
    with pytest.raises(FileNotFoundError):
        models.digits_net(weights="a/b.npz")
