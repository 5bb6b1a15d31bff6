"""The server as a process on a real port: half-open connections, large bodies, odd bytes, and how it stops."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from test_explorer_server_attacks import CANARY, traversals
from toy_explorer import toy_bundle, toy_page

from zatlas.explorer.server import serving as explorer_server
from zatlas.explorer.server.guard import AccessRules, PatientProtocol
from zatlas.studies.study import Study

PATIENCE_S = 1.0
LONG_S = 600.0  # no test waits that long: what is done before was not done by waiting
GENEROUS_S = 60.0  # after which something hangs, on the busiest machine


def until(is_so: Callable[[], bool], what: str) -> None:
    """Wait for a state, at most a minute."""
    for _ in range(int(GENEROUS_S / 0.05)):
        if is_so():
            return
        time.sleep(0.05)
    pytest.fail(f"still not so after a minute: {what}")


def is_open(connection: socket.socket) -> bool:
    """Whether the other side holds a connection on which it has said nothing."""
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


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

    def connect(self, timeout_s: float = GENEROUS_S) -> socket.socket:
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

    def n_connections(self) -> int:
        return n_connections(self.process)


def n_connections(process: subprocess.Popen[str]) -> int:
    """Connections that a process has taken and that are open on both sides."""
    found = psutil.Process(process.pid).net_connections(kind="tcp")
    return sum(connection.status == psutil.CONN_ESTABLISHED for connection in found)


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


@contextmanager
def serving(made: Study, root: Path, patience_s: float) -> Iterator[Running]:
    """A server whose log must stay empty and which ends when asked to."""
    bundle, page = toy_bundle(root / "study" / "explorer", made), toy_page(root / "static")
    for folder in (root, root / "study", bundle):
        (folder / "canary.txt").write_bytes(CANARY)
    process, port, token = started(bundle, page, made, patience_s=patience_s)
    yield Running(process, port, token, root)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=GENEROUS_S)
    assert (out, err, process.returncode) == ("stopped\n", "", 0)


@pytest.fixture(scope="module")
def running(made: Study, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server whose patience is a second."""
    with serving(made, tmp_path_factory.mktemp("served"), PATIENCE_S) as server:
        yield server


@pytest.fixture(scope="module")
def patient_server(made: Study, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that drops no connection for its slowness as long as tests run."""
    with serving(made, tmp_path_factory.mktemp("patient"), LONG_S) as server:
        yield server


@pytest.fixture
def patient(patient_server: Running) -> Running:
    """That server, after the connections of other tests are gone."""
    until(lambda: patient_server.n_connections() == 0, "nobody is connected")
    return patient_server


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


def test_200_half_open_connections_keep_nobody_out(patient):
    """Requests are answered while half-open connections are there, not after these were given up."""
    with ExitStack() as stack:
        half_open = []
        for number in range(200):
            connection = stack.enter_context(patient.connect())
            connection.sendall([b"GET / HT", b"", b"POST /api/decode HTTP/1.1\r\nHost: "][number % 3])
            half_open.append(connection)
        for path in 5 * ("/", "/data/manifest.json", "/data/z3/decoder.onnx", "/api/image/1"):
            assert patient.ask(path)[0] == 200
        newest = half_open[-PatientProtocol.most_waiting // 2 :]
        assert all(is_open(connection) for connection in newest), "they were there all the time"


def test_half_open_connections_are_closed_without_a_word(running):
    with ExitStack() as stack:
        half_open = []
        for number in range(30):
            connection = stack.enter_context(running.connect())
            connection.sendall([b"GET / HT", b"", b"POST /api/decode HTTP/1.1\r\nHost: "][number % 3])
            half_open.append(connection)
        for connection in half_open:
            with suppress(ConnectionResetError):
                assert connection.recv(100) == b""
    assert running.ask("/")[0] == 200


def test_a_header_that_drips_is_cut_off(running):
    """What arrives now and then does not renew the server's patience."""
    with running.connect() as connection, pytest.raises((BrokenPipeError, ConnectionResetError)):
        for _ in range(int(GENEROUS_S / 2 / 0.05)):
            connection.sendall(b"G")
            time.sleep(0.05)


def test_a_request_that_drips_in_time_is_answered(patient):
    request = f"GET /data/manifest.json HTTP/1.1\r\n{patient.head}Connection: close\r\n\r\n".encode()
    with patient.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in range(len(request)):
            connection.sendall(request[place : place + 1])
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_body_that_never_comes_is_cut_off(running):
    head = f"POST /api/decode HTTP/1.1\r\n{running.head}Content-Type: application/json\r\nContent-Length: 50\r\n\r\n"
    with running.connect() as connection, suppress(ConnectionResetError):
        connection.sendall(head.encode() + b'{"model"')
        while connection.recv(1000):  # raises TimeoutError where the server waits for ever
            pass
    assert running.ask("/healthz")[0] == 200


def test_a_connection_serves_many_requests(running):
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=GENEROUS_S)
    try:
        for _ in range(3):
            for path in ("/", "/data/z3/decoder.onnx", "/nothing"):
                connection.request("GET", path, headers={"Authorization": f"Bearer {running.token}"})
                assert connection.getresponse().read()
            time.sleep(PATIENCE_S / 2)
    finally:
        connection.close()


def test_ctrl_c_ends_it_whatever_hangs_on_it(bundle, page, made):
    process, port, token = started(bundle, page, made, patience_s=LONG_S)
    half_open = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    try:
        for connection in half_open:
            connection.sendall(b"GET / HT")
        waiting = f"POST /api/decode HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
        half_open[0].sendall(b"TP/1.1\r\n\r\n")
        assert half_open[0].recv(65536).startswith(b"HTTP/1.1 400"), "it names no host"
        last = socket.create_connection(("127.0.0.1", port))
        half_open.append(last)
        last.sendall(f"{waiting}Content-Type: application/json\r\nContent-Length: 50\r\n\r\n".encode())
        until(lambda: n_connections(process) == 20, "all connections are taken")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=GENEROUS_S)  # raises where it waits for those who hang on it
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
    try:
        # A zombie is what its new parent may leave of it.
        until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "it ended too")
    finally:
        with suppress(psutil.NoSuchProcess):
            child.kill()


@pytest.mark.skipif(os.name != "posix", reason="parents and sockets of POSIX")
def test_a_unix_socket_belongs_to_its_owner(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    listener = explorer_server._unix_listener(Path("explorer.sock"))
    try:
        assert (tmp_path / "explorer.sock").stat().st_mode & 0o777 == 0o600
    finally:
        listener.close()
    for host in ("localhost:8000", "127.0.0.1:9", "localhost", "[::1]:1"):
        assert AccessRules(port=0).knows_host(host)
    assert not AccessRules(port=0).knows_host("evil.example:8000")


def test_only_the_newest_silent_connections_are_kept(patient):
    with ExitStack() as stack:
        silent = [stack.enter_context(patient.connect()) for _ in range(100)]
        oldest, newest = silent[: -PatientProtocol.most_waiting], silent[-PatientProtocol.most_waiting :]
        assert all(connection.recv(1) == b"" for connection in oldest), "dropped for the newer ones"
        assert all(is_open(connection) for connection in newest)


def test_500_dripping_connections_keep_nobody_out(patient):
    """Slow loris: connections that drip headers, made again as soon as they are dropped."""
    paths = ("/", "/data/manifest.json", "/data/z3/decoder.onnx", "/healthz")
    dripping: list[socket.socket] = []
    n_made = 0
    try:
        for turn in range(40):
            while len(dripping) < 500:
                n_made += 1
                dripping.append(patient.connect())
                dripping[-1].sendall(b"GET / HTTP/1.1\r\n")
            assert patient.ask(paths[turn % len(paths)])[0] == 200
            dripping = [connection for connection in dripping if goes_on_dripping(connection)]
    finally:
        for connection in dripping:
            connection.close()
    assert n_made > 40 * 250, "otherwise nobody was in anybody's way"


def goes_on_dripping(connection: socket.socket) -> bool:
    """Send one more header, or close a connection that the server has given up."""
    with suppress(OSError):
        if is_open(connection):
            connection.sendall(b"X-A: b\r\n")
            return True
    connection.close()
    return False
