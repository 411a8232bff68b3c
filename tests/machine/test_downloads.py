"""Files from a server on this machine, which can be told to misbehave."""

import errno
import hashlib
import io
import os
import pickle
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from tqdm import tqdm

from transfer_utils import backbones, data, machine
from transfer_utils.data import photos as data_photos
from transfer_utils.machine import downloads, locks

TENSORS = {"weight": torch.arange(6.0).view(2, 3), "bias": torch.ones(2)}
CONTENT = bytes(range(256)) * 40


def packed(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


class Server(ThreadingHTTPServer):
    """Sends one file under any name, and notes which range was asked for and how many bytes were sent each time.

    troubles: what goes wrong in one request after the other: None, an error's number, or a function that spoils what
    is sent. ranges: whether it can start in the middle.
    """

    def __init__(self, content: bytes):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.ranges, self.asked, self.sent = content, True, [], []
        self.troubles: Iterable[int | Callable[[bytes], bytes] | None] = ()
        self.name = f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
        self.url = f"http://127.0.0.1:{self.server_port}/models/{self.name}"

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, asked = self.server, self.headers["Range"]
        server.asked.append(asked)
        server.troubles = iter(server.troubles)
        trouble = next(server.troubles, None)
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and server.ranges else 0
        if start and start >= len(server.content):
            trouble = 416
        if isinstance(trouble, int):
            self.send_error(trouble)
            return
        rest = server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        rest = trouble(rest) if trouble else rest
        server.sent.append(len(rest))
        self.wfile.write(rest)

    def log_message(self, *_):
        pass


@pytest.fixture(autouse=True)
def quick_and_direct(monkeypatch) -> None:
    """No pauses between attempts, and no proxy on the way to this machine."""
    monkeypatch.setattr(downloads, "PAUSE", 0)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def cached(own_home) -> Path:
    """The folder that weights are kept in, for this test alone."""
    return own_home / "weights"


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
        server.stop()


@pytest.fixture
def gone(serve) -> Callable[[bytes], Server]:
    """A server that is not there any more."""

    def start(content: bytes) -> Server:
        server = serve(content)
        server.stop()
        return server

    return start


def files(folder: Path) -> list[str]:
    """All but the locks, which stay after a download that failed."""
    found = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    return [name for name in found if not (name.startswith(".") and name.endswith(".lock"))]


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


# --- one file -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digest", [sha256(CONTENT), sha256(CONTENT)[:15], f"md5:{hashlib.md5(CONTENT).hexdigest()}"])
def test_a_file_is_downloaded_once(serve, tmp_path, digest):
    server, path = serve(CONTENT), tmp_path / "new" / "folder" / "file.bin"
    for _ in range(2):
        assert machine.fetch(server.url, path, digest) == path
    assert path.read_bytes() == CONTENT
    assert server.asked == [None]
    assert files(path.parent) == ["file.bin"]


def test_progress_is_shown_in_bytes_and_with_the_name(serve, tmp_path, monkeypatch):
    shown = []

    class Noted(tqdm):
        def close(self):
            shown.append((self.desc, self.initial, self.n, self.total))
            super().close()

    monkeypatch.setattr(downloads, "tqdm", Noted)
    server = serve(CONTENT)
    server.troubles = [half]
    machine.fetch(server.url, tmp_path / "file.bin", sha256(CONTENT))
    assert set(shown) == {("file.bin", 0, 5120, 10240), ("file.bin", 5120, 10240, 10240)}


def test_a_connection_that_breaks_is_taken_up_where_it_broke(serve, tmp_path):
    server = serve(CONTENT)
    server.troubles = [half, half]
    path = machine.fetch(server.url, tmp_path / "file.bin", sha256(CONTENT))
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=5120-", "bytes=7680-"]
    assert server.sent == [5120, 2560, 2560]
    assert files(tmp_path) == ["file.bin"]


def test_a_connection_that_always_breaks_is_an_error_that_keeps_what_came(serve, tmp_path):
    server, path = serve(CONTENT), tmp_path / "file.bin"
    server.troubles = repeat(half)
    with pytest.raises(RuntimeError, match=r"file\.bin is missing.*the connection broke after 9,920 of 10,240 bytes"):
        machine.fetch(server.url, path, sha256(CONTENT))
    assert len(server.asked) == downloads.TRIES
    assert files(tmp_path) == ["file.bin.part"]
    server.troubles = ()
    assert machine.fetch(server.url, path, sha256(CONTENT)).read_bytes() == CONTENT
    assert server.asked[downloads.TRIES :] == ["bytes=9920-"]


def test_a_server_without_ranges_starts_anew(serve, tmp_path):
    server = serve(CONTENT)
    server.ranges, server.troubles = False, [half]
    path = machine.fetch(server.url, tmp_path / "file.bin", sha256(CONTENT))
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=5120-"]
    assert server.sent == [5120, 10240]


def test_an_interrupt_keeps_what_came_and_the_next_call_goes_on_from_there(serve, tmp_path, monkeypatch):
    class Interrupted(tqdm):
        def update(self, count):
            super().update(count)
            if self.n == 4096:
                raise KeyboardInterrupt

    server, path = serve(CONTENT), tmp_path / "file.bin"
    monkeypatch.setattr(downloads, "CHUNK", 1024)
    with monkeypatch.context() as patch:
        patch.setattr(downloads, "tqdm", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            machine.fetch(server.url, path, sha256(CONTENT))
    assert files(tmp_path) == ["file.bin.part"]
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:4096]
    assert machine.fetch(server.url, path, sha256(CONTENT)).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=4096-"]
    assert server.sent[1] == 10240 - 4096


@pytest.mark.parametrize("code", downloads.AGAIN)
def test_a_busy_server_is_asked_again(serve, tmp_path, code):
    server = serve(CONTENT)
    server.troubles = [code, code]
    assert machine.fetch(server.url, tmp_path / "file.bin", sha256(CONTENT)).read_bytes() == CONTENT
    assert server.asked == [None] * 3


@pytest.mark.parametrize(("code", "asked"), [(404, 1), (403, 1), (503, downloads.TRIES)])
def test_a_server_that_refuses_is_an_error_with_its_answer(serve, tmp_path, code, asked):
    server = serve(CONTENT)
    server.troubles = repeat(code)
    with pytest.raises(RuntimeError, match=f"HTTPError: HTTP Error {code}"):
        machine.fetch(server.url, tmp_path / "file.bin", sha256(CONTENT))
    assert len(server.asked) == asked
    assert files(tmp_path) == []


def test_attempts_have_pauses_between_them(gone, tmp_path, monkeypatch):
    slept = []
    monkeypatch.setattr(downloads, "PAUSE", 2.5)
    monkeypatch.setattr(downloads.time, "sleep", slept.append)
    with pytest.raises(RuntimeError, match="could not be downloaded"):
        machine.fetch(gone(CONTENT).url, tmp_path / "file.bin", sha256(CONTENT))
    assert slept == [0, *[2.5] * (downloads.TRIES - 1)]


def test_a_part_that_is_the_whole_file_is_taken(serve, tmp_path):
    """As after an interrupt in the last moment; the server then has no further range to send."""
    server = serve(CONTENT)
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert machine.fetch(server.url, tmp_path / "file.bin", sha256(CONTENT)).read_bytes() == CONTENT
    assert (server.asked, server.sent) == (["bytes=10240-"], [])
    assert files(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("rest", [CONTENT + b"more", CONTENT[:100] + b"other", b"x" * len(CONTENT)])
def test_a_part_of_something_else_is_thrown_away(serve, tmp_path, rest):
    server = serve(CONTENT)
    (tmp_path / "file.bin.part").write_bytes(rest)
    assert machine.fetch(server.url, tmp_path / "file.bin", sha256(CONTENT)).read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(rest)}-", None]


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_a_file_with_another_checksum_is_refused_and_not_kept(serve, tmp_path, kind):
    server, digest = serve(CONTENT), f"{kind}:0123abcd"
    with pytest.raises(RuntimeError, match=f"10,240 bytes arrived, and their checksum is not {digest}"):
        machine.fetch(server.url, tmp_path / "file.bin", digest)
    assert server.asked == [None]  # it would only be sent again
    assert files(tmp_path) == []


# --- many at once -------------------------------------------------------------------------------------------------

FETCHES = """
import sys
from pathlib import Path
from transfer_utils import machine
print(machine.fetch(sys.argv[1], Path(sys.argv[2]), sys.argv[3]).stat().st_size)
"""


def slow(content: bytes) -> bytes:
    time.sleep(0.3)
    return content


@pytest.fixture(params=["locks", "no locks", "no locks at all"])
def drive(request, monkeypatch) -> bool:
    """A drive with locks or without; whether it has some."""
    error = (
        NotImplementedError("no flock here") if request.param == "no locks at all" else OSError(errno.ENOLCK, "none")
    )

    def refuse(*_, **__):
        raise error

    if request.param != "locks":
        monkeypatch.setattr(locks.FileLock, "acquire", refuse)
    return request.param == "locks"


@pytest.mark.parametrize("trouble", [None, half, 503, "damaged before", "a part before"])
def test_threads_that_want_one_file_all_get_it(serve, tmp_path, drive, trouble):
    server, path = serve(CONTENT), tmp_path / "file.bin"
    server.troubles = [trouble if trouble in (half, 503) else slow, *repeat(slow, 20)]
    if trouble == "damaged before":
        path.write_bytes(CONTENT[:-1])
    if trouble == "a part before":
        (tmp_path / "file.bin.part").write_bytes(half(CONTENT))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: machine.fetch(server.url, path, sha256(CONTENT)).read_bytes(), range(4)))
    assert found == [CONTENT] * 4
    assert len(server.asked) == (2 if trouble in (half, 503) else 1) or not drive
    assert [name for name in files(tmp_path) if name != "file.bin.part" or drive] == ["file.bin"]


@pytest.mark.slow
def test_of_two_processes_one_fetches_and_the_other_waits(serve, tmp_path):
    server = serve(CONTENT)
    server.troubles = repeat(slow)
    command = [sys.executable, "-c", FETCHES, server.url, str(tmp_path / "file.bin"), sha256(CONTENT)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0] for process in both] == [f"{len(CONTENT)}\n"] * 2
    assert server.asked == [None]
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


def test_a_process_that_is_killed_while_it_fetches_leaves_its_part_to_the_next_one(serve, tmp_path):
    server, path, killed = serve(CONTENT), tmp_path / "file.bin", threading.Event()

    def stuck(rest: bytes) -> bytes:
        killed.wait(60)
        return rest

    (tmp_path / "file.bin.part").write_bytes(half(CONTENT))
    server.troubles = [stuck]
    with subprocess.Popen([sys.executable, "-c", FETCHES, server.url, str(path), sha256(CONTENT)]) as other:
        while not server.asked:
            time.sleep(0.01)
        other.kill()
    assert machine.fetch(server.url, path, sha256(CONTENT)).read_bytes() == CONTENT
    killed.set()
    assert server.asked == [f"bytes={len(CONTENT) // 2}-"] * 2


# --- disks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
def test_a_disk_that_refuses_is_an_error_at_once_that_says_what_is_needed(serve, tmp_path, monkeypatch, number):
    server, path = serve(CONTENT), tmp_path / "file.bin"

    class Full(tqdm):
        def update(self, count):
            raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(downloads, "tqdm", Full)
        with pytest.raises(RuntimeError, match=f"file.bin is missing and cannot be kept in {tmp_path}") as error:
            machine.fetch(server.url, path, sha256(CONTENT))
    assert server.asked == [None]
    assert os.strerror(number) in str(error.value)
    assert "TRANSFER_UTILS_HOME" in str(error.value)
    assert number == errno.EROFS or "it needs 10,240 more bytes, and " in str(error.value)
    assert machine.fetch(server.url, path, sha256(CONTENT)).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("free", "total", "enough"), [(10_239, 1e9, False), (0, 1e9, False), (10_240, 1e9, True), (0, 0, True)]
)
def test_what_does_not_fit_is_not_begun(serve, tmp_path, monkeypatch, free, total, enough):
    server, path = serve(CONTENT), tmp_path / "file.bin"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "total used free")(total, 0, free))
    if enough:
        assert machine.fetch(server.url, path, sha256(CONTENT)).read_bytes() == CONTENT
    else:
        with pytest.raises(RuntimeError, match=f"it needs 10,240 more bytes, and {free:,} are free there"):
            machine.fetch(server.url, path, sha256(CONTENT))
        assert server.asked == [None]
        assert files(tmp_path) == []


@pytest.mark.parametrize("way", ["file.bin/", "file.bin.part/", "folder is a file", "/proc/nowhere"])
def test_something_in_the_way_is_an_error_in_words(serve, tmp_path, way):
    server, folder = serve(CONTENT), tmp_path
    if way.endswith("/"):
        (tmp_path / way).mkdir()
    elif way == "folder is a file":
        folder = tmp_path / "file"
        folder.touch()
    else:
        folder = Path(way)
    with pytest.raises(RuntimeError, match=r"file\.bin is missing and cannot be kept in .*try again\."):
        machine.fetch(server.url, folder / "file.bin", sha256(CONTENT))
    assert len(server.asked) <= 1


# --- weights ------------------------------------------------------------------------------------------------------


def assert_are_ours(tensors) -> None:
    assert list(tensors) == list(TENSORS)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items())


def test_weights_are_downloaded_once(cached, serve):
    server = serve(packed(TENSORS))
    for _ in range(2):
        assert_are_ours(machine.download_weights(server.url))
    assert server.asked == [None]
    assert files(cached) == [server.name]
    assert (cached / server.name).read_bytes() == server.content


def test_a_url_without_a_checksum_is_refused(cached, serve):
    server = serve(packed(TENSORS))
    with pytest.raises(ValueError, match=r"net\.pth carries no checksum; .*<name>-<digits of its sha256>\.pth"):
        machine.download_weights(server.url.replace(server.name, "net.pth"))
    assert server.asked == []


@pytest.mark.parametrize(
    "spoil",
    [
        half,
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
    assert_are_ours(machine.download_weights(server.url))
    assert len(server.asked) == 1
    assert (cached / server.name).read_bytes() == server.content
    assert f"{server.name} is damaged or was cut off. It is downloaded again" in capsys.readouterr().err


@pytest.mark.parametrize(
    "spoil", [half, lambda content: content[::-1], lambda content: b""], ids=["short", "wrong", "nothing"]
)
def test_what_arrives_spoiled_is_not_taken_for_weights(cached, serve, spoil):
    server = serve(packed(TENSORS))
    server.troubles = repeat(spoil)
    with pytest.raises(RuntimeError, match=server.name):
        machine.download_weights(server.url)
    assert server.name not in files(cached)
    server.troubles = ()  # the next attempt is not spoiled by the first
    assert_are_ours(machine.download_weights(server.url))


def test_without_a_server_the_error_says_what_is_missing_and_where_it_belongs(cached, gone):
    server = gone(packed(TENSORS))
    with pytest.raises(RuntimeError) as error:
        machine.download_weights(server.url)
    for words in (server.name, server.url, str(cached), "fetch it by hand"):
        assert words in str(error.value)
    assert files(cached) == []


def test_a_file_put_there_by_hand_is_taken_without_a_server(cached, gone):
    server = gone(packed(TENSORS))
    cached.mkdir(parents=True)
    (cached / server.name).write_bytes(server.content)
    assert_are_ours(machine.download_weights(server.url))


class Hostile:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("pack", [packed, lambda x: pickle.dumps(x, protocol=2)], ids=["torch.save", "pickle"])
def test_code_in_a_weight_file_does_not_run(cached, serve, tmp_path, pack):
    server = serve(pack({"weight": Hostile(tmp_path / "it ran")}))
    with pytest.raises(RuntimeError, match=server.name):
        machine.download_weights(server.url)
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

    monkeypatch.setattr(machine, "download_weights", weights)
    staged = backbones.load_backbone(name).eval()
    assert asked == [default.url]
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(staged(x), original.eval()(x))
    backbones.load_backbone(name, pretrained=False)
    assert len(asked) == 1


def test_a_resnet_without_a_server_says_which_backbone_will_do(cached, gone, monkeypatch):
    server = gone(b"")
    weights = type("Weights", (), {"DEFAULT": type("Default", (), {"url": server.url})})
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: weights)
    with pytest.raises(
        RuntimeError, match=r"load_backbone\('efficientnet_lite0'\), whose .* already installed"
    ) as error:
        backbones.load_backbone("resnet50")
    for words in ("The weights of resnet50 could not be loaded", server.url, str(cached)):
        assert words in str(error.value)


# --- all of CIFAR-10, which uses it -------------------------------------------------------------------------------

BATCHES = [f"data_batch_{number}" for number in range(1, 6)]


def cifar10_files() -> dict[str, bytes]:
    """As those of torchvision.datasets.CIFAR10, with 310 training and 20 test photos of each class.

    The first two bytes of a photo are its number, and the last digit of that is its class.
    """
    contents: dict[str, dict] = {"batches.meta": {"label_names": list(data.CIFAR10)}}
    for start, name in ((0, "test_batch"), *((620 * i, name) for i, name in enumerate(BATCHES))):
        numbers = np.arange(start, start + (200 if name == "test_batch" else 620))
        pixels = np.zeros((len(numbers), 3 * 32 * 32), np.uint8)
        pixels[:, 0], pixels[:, 1] = numbers // 256, numbers % 256
        contents[name] = {"data": pixels, "labels": (numbers % 10).tolist()}
    return {name: pickle.dumps(content) for name, content in contents.items()}


def archive(contents: dict[str, bytes], folder: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for name, content in contents.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def cifar10(own_home, serve, monkeypatch) -> Server:
    """A server of a small CIFAR-10, which torchvision takes for the real one."""
    source, contents = torchvision.datasets.CIFAR10, cifar10_files()
    sums = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    server = serve(archive(contents, source.base_folder))
    monkeypatch.setattr(source, "url", f"http://127.0.0.1:{server.server_port}/{source.filename}")
    monkeypatch.setattr(source, "tgz_md5", hashlib.md5(server.content).hexdigest())
    monkeypatch.setattr(source, "train_list", [[name, sums[name]] for name in BATCHES])
    monkeypatch.setattr(source, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": sums["batches.meta"]})
    data_photos._full_cifar10.cache_clear()
    yield server
    data_photos._full_cifar10.cache_clear()


def numbers(split: str) -> list[int]:
    """Load a split anew: the numbers of its photos, checked against their labels."""
    data_photos._full_cifar10.cache_clear()
    photos = data.load("cifar10", split)
    assert (photos.classes, photos.images.dtype, photos.images.shape[1:]) == (data.CIFAR10, torch.uint8, (3, 32, 32))
    found = 256 * photos.images[:, 0, 0, 0].long() + photos.images[:, 0, 0, 1].long()
    assert torch.equal(found % 10, photos.labels)
    return found.tolist()


def test_cifar10_comes_once_and_whole_though_the_connection_breaks(cifar10, own_home):
    cifar10.troubles = [half]
    start = len(cifar10.content) // 2
    for _ in range(2):  # the second time from the disk
        by_class = [range(label, 3100, 10) for label in range(10)]
        assert numbers("train") == [number for members in by_class for number in members[:-300]]
        assert numbers("valid") == [number for members in by_class for number in members[-300:]]
        assert numbers("test") == list(range(200))
    assert cifar10.asked == [None, f"bytes={start}-"]
    assert sum(cifar10.sent) == len(cifar10.content)
    assert files(own_home / "cifar10") == ["cifar-10-batches-py", "cifar-10-python.tar.gz"]


@pytest.mark.parametrize("lost", ["data_batch_3", "test_batch"])
def test_a_damaged_part_of_cifar10_is_unpacked_again(cifar10, own_home, damage, lost):
    expected = numbers("test")
    damage(own_home / "cifar10" / "cifar-10-batches-py" / lost)
    assert numbers("test") == expected
    assert len(cifar10.asked) == 1


def test_threads_that_want_cifar10_unpack_it_once(cifar10, own_home, monkeypatch):
    unpacked, unpack = [], data_photos._unpack
    monkeypatch.setattr(data_photos, "_unpack", lambda *paths: (unpacked.append(slow(paths)), unpack(*paths)))
    with ThreadPoolExecutor(4) as pool:
        sources = list(pool.map(data_photos._downloaded_cifar10, [True, False] * 2))
    assert [len(source.data) for source in sources] == [3100, 200] * 2
    assert len(cifar10.asked) == len(unpacked) == 1


def test_nobody_reads_cifar10_half_unpacked_even_where_there_are_no_locks(cifar10, own_home, drive):
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            (own_home / "cifar10" / "cifar-10-batches-py" / "data_batch_2").unlink(missing_ok=True)
            sources = list(pool.map(data_photos._downloaded_cifar10, [True] * 4))
            assert all((source.data == sources[0].data).all() for source in sources)
    assert files(own_home / "cifar10") == ["cifar-10-batches-py", "cifar-10-python.tar.gz"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EROFS, "Read-only")])
def test_cifar10_that_cannot_be_unpacked_is_an_error_in_words(cifar10, own_home, monkeypatch, error):
    def refuse(*_):
        raise error

    monkeypatch.setattr(data_photos.os, "replace", refuse)
    with pytest.raises(RuntimeError, match=f"Full CIFAR-10 could not be had: .*{error.strerror}"):
        data.load("cifar10", "train")


def test_cifar10_without_a_network_names_the_photos_that_need_none(cifar10, own_home):
    cifar10.stop()
    with pytest.raises(RuntimeError, match="Full CIFAR-10 could not be had") as error:
        data.load("cifar10", "train")
    for words in ("load('cifar10_photos')", 'profile = "cpu"', "cifar-10-python.tar.gz", str(own_home / "cifar10")):
        assert words in str(error.value)
