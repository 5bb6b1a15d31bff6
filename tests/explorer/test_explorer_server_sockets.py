"""The server as a process on a real port: half-open connections, large bodies, odd bytes, and how it stops."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from test_explorer_server_attacks import CANARY, traversals
from toy_explorer import toy_bundle, toy_page

from zatlas.explorer.server import serving
from zatlas.explorer.server.guard import Door
from zatlas.studies.study import Study

PATIENCE_S = 1.0


@dataclass(frozen=True)
class Running:
    """A server process."""

    process: subprocess.Popen[str]
    port: int
    token: str
    root: Path

    @property
    def head(self) -> str:
        """Headers of a request that is let in."""
        return f"Host: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.token}\r\n"

    def connect(self, timeout_s: float = 10.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)

    def ask(self, path: str, *, headers: str = "") -> tuple[int, bytes]:
        """One GET, byte for byte; status and everything after the first line."""
        request = f"GET {path} HTTP/1.1\r\n{self.head}{headers}Connection: close\r\n\r\n"
        return self.send(request.encode("latin-1"))

    def send(self, request: bytes) -> tuple[int, bytes]:
        with self.connect() as connection:
            connection.sendall(request)
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
        first, _, rest = received.partition(b"\r\n")
        return int(first.split()[1]), rest

    def rss_mb(self) -> float:
        return psutil.Process(self.process.pid).memory_info().rss / 1e6


def started(
    bundle: Path, page: Path, made: Study, *, patience_s: float = PATIENCE_S
) -> tuple[subprocess.Popen[str], int, str]:
    script = Path(__file__).with_name("toy_explorer.py")
    words = [sys.executable, str(script), str(bundle), str(page), str(made.folder), str(patience_s)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise AssertionError(process.communicate()[1])
    address, token = json.loads(line)
    return process, int(address.rstrip("/").rpartition(":")[2]), token


@pytest.fixture(scope="module")
def running(made: Study, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server whose patience is a second; its log must stay empty."""
    root = tmp_path_factory.mktemp("served")
    bundle, page = toy_bundle(root / "study" / "explorer", made), toy_page(root / "static")
    for folder in (root, root / "study", bundle):
        (folder / "canary.txt").write_bytes(CANARY)
    process, port, token = started(bundle, page, made)
    yield Running(process, port, token, root)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (out, err, process.returncode) == ("stopped\n", "", 0)


def test_paths_out_of_the_folders(running):
    for path in traversals(running.root, 10_000)[::25]:
        status, rest = running.ask(path.replace(" ", "%20"))
        assert CANARY not in rest, path
        assert status < 500, path


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\nConnection: close\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET /data/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        bytes(range(256)) * 8,
    ],
    ids=range(12),
)
def test_what_is_not_http_is_refused(running, request_bytes):
    status, rest = running.send(request_bytes)
    assert status == 400
    assert b"content-security-policy" in rest.lower()
    assert b'"code"' in rest
    assert running.ask("/healthz")[0] == 200


def test_a_broken_chunk_in_a_body_is_no_failure(running):
    head = f"POST /api/decode HTTP/1.1\r\n{running.head}Content-Type: application/json\r\n"
    head += "Transfer-Encoding: chunked\r\n\r\n"
    with running.connect() as connection:
        connection.sendall(head.encode())
        time.sleep(0.1)
        connection.sendall(b"zz\r\nnot a chunk")
        connection.recv(65536)
    assert running.ask("/healthz")[0] == 200


def test_both_loopback_addresses_and_no_other(running):
    connections = psutil.Process(running.process.pid).net_connections(kind="tcp")
    listening = {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
    assert "127.0.0.1" in listening
    assert listening <= {"127.0.0.1", "::1"}


def test_the_token_is_not_in_the_list_of_processes(running):
    assert running.token not in " ".join(psutil.Process(running.process.pid).cmdline())


@pytest.mark.parametrize("is_chunked", [False, True])
def test_80_mb_are_refused_without_being_kept(running, is_chunked):
    running.ask("/healthz")
    before = running.rss_mb()
    length = "Transfer-Encoding: chunked" if is_chunked else "Content-Length: 80000000"
    head = f"POST /api/decode HTTP/1.1\r\n{running.head}Content-Type: application/json\r\n{length}\r\n\r\n"
    piece = b"0" * 1_000_000
    framed = b"f4240\r\n" + piece + b"\r\n" if is_chunked else piece
    largest, received = 0.0, b""
    with running.connect() as connection:
        connection.sendall(head.encode())
        try:
            for _ in range(80):
                connection.sendall(framed)
                largest = max(largest, running.rss_mb())
            received = connection.recv(65536)
        except (ConnectionError, TimeoutError):
            pass  # the server hung up, as it may
    assert largest - before < 40, f"{largest - before:.0f} MB more"
    assert not received or received.startswith(b"HTTP/1.1 413")
    assert running.ask("/healthz")[0] == 200


def seconds(running: Running, path: str) -> float:
    start = time.perf_counter()
    assert running.ask(path)[0] == 200
    return time.perf_counter() - start


def test_200_half_open_connections_keep_nobody_out(running):
    with ExitStack() as stack:
        half_open = []
        for number in range(200):
            connection = stack.enter_context(running.connect())
            connection.sendall([b"GET / HT", b"", b"POST /api/decode HTTP/1.1\r\nHost: "][number % 3])
            half_open.append(connection)
        paths = ("/", "/data/manifest.json", "/data/z3/decoder.onnx", "/api/image/1")
        assert max(seconds(running, path) for path in paths for _ in range(5)) < 1
        deadline = time.monotonic() + PATIENCE_S + 3
        for connection in half_open:
            connection.settimeout(max(deadline - time.monotonic(), 0.01))
            with suppress(ConnectionResetError):
                assert connection.recv(100) == b"", "it was closed without a word"
    assert seconds(running, "/") < 1


def test_a_header_that_drips_is_cut_off(running):
    start = time.monotonic()
    with running.connect() as connection:
        try:
            for _ in range(100):
                connection.sendall(b"G")
                time.sleep(0.05)
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert PATIENCE_S / 2 < time.monotonic() - start < PATIENCE_S + 2


def test_a_body_that_never_comes_is_cut_off(running):
    head = f"POST /api/decode HTTP/1.1\r\n{running.head}Content-Type: application/json\r\nContent-Length: 50\r\n\r\n"
    start = time.monotonic()
    with running.connect() as connection:
        connection.sendall(head.encode() + b'{"model"')
        try:
            while connection.recv(1000):
                pass
        except ConnectionResetError:
            pass
    assert time.monotonic() - start < PATIENCE_S + 2
    assert running.ask("/healthz")[0] == 200


def test_a_connection_serves_many_requests(running):
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    try:
        for _ in range(3):
            for path in ("/", "/data/z3/decoder.onnx", "/nothing"):
                connection.request("GET", path, headers={"Authorization": f"Bearer {running.token}"})
                assert connection.getresponse().read()
            time.sleep(PATIENCE_S / 2)
    finally:
        connection.close()


def test_ctrl_c_ends_it_within_a_second_whatever_hangs_on_it(bundle, page, made):
    process, port, token = started(bundle, page, made, patience_s=30)
    half_open = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    try:
        for connection in half_open:
            connection.sendall(b"GET / HT")
        waiting = f"POST /api/decode HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
        half_open[0].sendall(b"TP/1.1\r\n\r\n")
        last = socket.create_connection(("127.0.0.1", port))
        half_open.append(last)
        last.sendall(f"{waiting}Content-Type: application/json\r\nContent-Length: 50\r\n\r\n".encode())
        time.sleep(0.3)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
        assert time.monotonic() - start < 1.5, "a second, and what it takes Python to end"
        assert (out, err, process.returncode) == ("stopped\n", "", 0)
    finally:
        process.kill()
        process.communicate()
        for connection in half_open:
            connection.close()


@pytest.mark.skipif(os.name != "posix", reason="parents and sockets of POSIX")
def test_it_ends_with_the_process_that_started_it(bundle, page, made):
    script = Path(__file__).with_name("toy_explorer.py")
    words = [sys.executable, str(script), str(bundle), str(page), str(made.folder), "1"]
    parent_code = f"import subprocess, sys\np = subprocess.Popen({words!r}, stdout=subprocess.PIPE, text=True)\n"
    parent_code += "p.stdout.readline()\nprint(p.pid, flush=True)\nsys.stdin.read()\n"
    parent = subprocess.Popen(
        [sys.executable, "-c", parent_code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    for _ in range(50):
        if not child.is_running() or child.status() == psutil.STATUS_ZOMBIE:  # which its new parent may leave it
            return
        time.sleep(0.1)
    child.kill()
    pytest.fail("it went on")


@pytest.mark.skipif(os.name != "posix", reason="parents and sockets of POSIX")
def test_a_unix_socket_belongs_to_its_owner(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    listener = serving._unix_listener(Path("explorer.sock"))
    try:
        assert (tmp_path / "explorer.sock").stat().st_mode & 0o777 == 0o600
    finally:
        listener.close()
    for host in ("localhost:8000", "127.0.0.1:9", "localhost", "[::1]:1"):
        assert Door(port=0).knows_host(host)
    assert not Door(port=0).knows_host("evil.example:8000")


def test_only_the_newest_silent_connections_are_kept(running):
    with ExitStack() as stack:
        silent = [stack.enter_context(running.connect()) for _ in range(100)]
        time.sleep(0.3)
        silent[0].settimeout(0.2)
        silent[-1].settimeout(0.2)
        assert silent[0].recv(1) == b"", "the oldest was dropped before its time"
        with pytest.raises(TimeoutError):
            silent[-1].recv(1)


@pytest.mark.slow
def test_500_dripping_connections_keep_nobody_out(running):
    """Slow loris for 20 s: connections that drip headers, made again as soon as they are dropped."""
    paths = ("/", "/data/manifest.json", "/data/z3/decoder.onnx", "/healthz")
    dripping: list[socket.socket] = []
    attacked: list[float] = []
    try:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            while len(dripping) < 500:
                dripping.append(running.connect())
                dripping[-1].setblocking(False)
                dripping[-1].send(b"GET / HTTP/1.1\r\n")
            attacked.append(seconds(running, paths[len(attacked) % len(paths)]))
            kept = []
            for connection in dripping:
                try:
                    connection.send(b"X-A: b\r\n")
                    kept.append(connection)
                except OSError:
                    connection.close()
            dripping = kept
    finally:
        for connection in dripping:
            connection.close()
    assert len(attacked) >= 20
    assert sorted(attacked)[int(0.95 * len(attacked))] < 0.5, "some 400 new connections are taken before each request"
