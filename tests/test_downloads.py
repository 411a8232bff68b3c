"""Weight files from a server on this machine, which can be told to misbehave."""

import hashlib
import io
import pickle
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import torchvision

from transfer_utils import backbones, downloads

TENSORS = {"weight": torch.arange(6.0).view(2, 3), "bias": torch.ones(2)}


def packed(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def whole(content: bytes) -> bytes:
    return content


class Server(ThreadingHTTPServer):
    """Sends one file under any name, as `spoil` leaves it, and remembers who asked."""

    def __init__(self, content: bytes):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.spoil, self.asked = content, whole, []
        self.name = f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
        self.url = f"http://127.0.0.1:{self.server_port}/models/{self.name}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.spoil(self.server.content))

    def log_message(self, *_):
        pass


@pytest.fixture
def cached(tmp_path, monkeypatch) -> Path:
    """The folder that torch keeps weights in, for this test alone."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def serve():
    """Start a server; all are stopped at the end."""
    running = []

    def start(content: bytes) -> Server:
        server = Server(content)
        running.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def assert_are_ours(tensors) -> None:
    assert list(tensors) == list(TENSORS)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items())


def test_weights_are_downloaded_once(cached, serve):
    server = serve(packed(TENSORS))
    for _ in range(2):
        assert_are_ours(downloads.weights(server.url))
    assert server.asked == [f"/models/{server.name}"]
    assert files(cached) == [server.name]
    assert (cached / server.name).read_bytes() == server.content


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:],
        lambda content: b"<html>Not Found</html>",
    ],
    ids=["cut off", "empty", "one bit", "a web page"],
)
def test_a_spoiled_file_of_an_earlier_download_is_replaced(cached, serve, spoil, capsys):
    server = serve(packed(TENSORS))
    cached.mkdir(parents=True)
    (cached / server.name).write_bytes(spoil(server.content))
    assert_are_ours(downloads.weights(server.url))
    assert len(server.asked) == 1
    assert (cached / server.name).read_bytes() == server.content
    assert f"{server.name} is damaged or was cut off. It is downloaded again" in capsys.readouterr().err


@pytest.mark.parametrize(
    "spoil",
    [lambda content: content[: len(content) // 2], lambda content: content[::-1], lambda content: b""],
    ids=["short", "wrong", "nothing"],
)
def test_what_arrives_spoiled_is_refused_and_not_kept(cached, serve, spoil):
    server = serve(packed(TENSORS))
    server.spoil = spoil
    with pytest.raises(RuntimeError, match=server.name):
        downloads.weights(server.url)
    assert files(cached) == []
    server.spoil = whole  # the next attempt is not spoiled by the first
    assert_are_ours(downloads.weights(server.url))


def test_without_a_server_the_error_says_what_is_missing_and_where_it_belongs(cached, serve):
    server = serve(packed(TENSORS))
    server.shutdown()
    server.server_close()
    with pytest.raises(RuntimeError) as error:
        downloads.weights(server.url)
    for words in (server.name, server.url, str(cached), "fetch it by hand"):
        assert words in str(error.value)
    assert files(cached) == []


def test_a_file_put_there_by_hand_is_taken_without_a_server(cached, serve):
    server = serve(packed(TENSORS))
    cached.mkdir(parents=True)
    (cached / server.name).write_bytes(server.content)
    server.shutdown()
    server.server_close()
    assert_are_ours(downloads.weights(server.url))


class Hostile:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("pack", [packed, lambda x: pickle.dumps(x, protocol=2)], ids=["torch.save", "pickle"])
def test_code_in_a_weight_file_does_not_run(cached, serve, tmp_path, pack):
    server = serve(pack({"weight": Hostile(tmp_path / "it ran")}))
    with pytest.raises(RuntimeError, match=server.name):
        downloads.weights(server.url)
    assert not (tmp_path / "it ran").exists()
    pickle.loads(pickle.dumps(Hostile(tmp_path / "it ran")))  # it would have
    assert (tmp_path / "it ran").exists()


# --- the networks that use it -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("resnet18", torchvision.models.ResNet18_Weights.DEFAULT),
        ("resnet50", torchvision.models.ResNet50_Weights.DEFAULT),
    ],
)
def test_a_resnet_comes_with_its_default_weights(monkeypatch, name, default):
    asked, original = [], torchvision.models.get_model(name, weights=None)

    def weights(url):
        asked.append(url)
        return original.state_dict()

    monkeypatch.setattr(downloads, "weights", weights)
    staged = backbones.load_backbone(name).eval()
    assert asked == [default.url]
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(staged(x), original.eval()(x))
    backbones.load_backbone(name, pretrained=False)
    assert len(asked) == 1


def test_a_resnet_without_a_server_says_which_backbone_will_do(cached, serve, monkeypatch):
    server = serve(b"")
    server.shutdown()
    server.server_close()
    weights = type("Weights", (), {"DEFAULT": type("Default", (), {"url": server.url})})
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: weights)
    with pytest.raises(
        RuntimeError, match=r"load_backbone\('efficientnet_lite0'\), whose .* already installed"
    ) as error:
        backbones.load_backbone("resnet50")
    for words in ("The weights of resnet50 could not be loaded", server.url, str(cached)):
        assert words in str(error.value)
