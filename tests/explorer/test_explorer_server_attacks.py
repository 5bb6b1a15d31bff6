"""Attacks on the application itself, as ASGI requests: paths, names of hosts, pages elsewhere, bodies, noise."""

import asyncio
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from toy_explorer import PORT, TOKEN, toy_bundle, toy_page

from zatlas.explorer.server.guard import SECURITY_HEADERS, WITHOUT_TOKEN, AccessRules, Guard
from zatlas.explorer.server.requests import MOST_BODY_BYTES
from zatlas.explorer.server.serving import ServedStudy, app
from zatlas.studies.study import Study

CANARY = b"canary-8c1f: nobody outside may read this"
HOST = f"127.0.0.1:{PORT}"
GOOD = {"host": HOST, "authorization": f"Bearer {TOKEN}"}


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The word for programs in an error."""
        return str(json.loads(self.body)["code"])


@dataclass(frozen=True)
class Target:
    """An application without a client library between: what is sent is what arrives."""

    app: Any
    root: Path

    def ask(
        self, target: str, *, method: str = "GET", headers: dict[str, str] | list[tuple[str, str]] | None = None,
        chunks: tuple[bytes, ...] = (b"",),
    ) -> Answer:  # fmt: skip
        return asyncio.run(self.answer(target, method, headers, chunks))

    async def answer(self, target: str, method: str = "GET", headers: Any = None, chunks: Any = (b"",)) -> Answer:
        """As uvicorn would pass it on."""
        given = GOOD if headers is None else headers
        pairs = given.items() if isinstance(given, dict) else given
        raw_path, _, query = target.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
            "method": method, "scheme": "http", "path": unquote(raw_path), "root_path": "", "state": {},
            "raw_path": raw_path.encode("latin-1", "replace"), "query_string": query.encode("latin-1", "replace"),
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs],
            "server": ("127.0.0.1", PORT), "client": ("127.0.0.1", 50000),
        }  # fmt: skip
        waiting, sent = chunks if isinstance(chunks, list) else list(chunks), []

        async def receive() -> dict[str, Any]:
            if not waiting:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        start = sent[0]
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return Answer(start["status"], {k.decode(): v.decode() for k, v in start["headers"]}, body)


@pytest.fixture(scope="module")
def target(made: Study, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The application, with canaries in every folder around and in what it serves."""
    root = tmp_path_factory.mktemp("attacked")
    bundle, page = toy_bundle(root / "study" / "explorer", made), toy_page(root / "static")
    made_app = app(ServedStudy(bundle=bundle, study=made, page=page, access=AccessRules(token=TOKEN, port=PORT)))
    for folder in (root, root / "study", bundle, bundle / "z2", page, page / "assets"):
        (folder / "canary.txt").write_bytes(CANARY)
    with TestClient(made_app):  # which runs its lifespan
        yield Target(made_app, root)


UPWARDS = [
    "../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..\\", "..%5c", "%2e%2e%5c", "....//", "..;/", "%252e%252e%252f", ".%2e/",
    "%2e./", "%c0%ae%c0%ae/", "%c0%ae%c0%ae%c0%af", "..%c0%af", "..%e0%80%af", "%uff0e%uff0e/", "..%ef%bc%8f",
    "%00../", "..%00/", "..//", "./../", "..%0d%0a/", "..%09/", "..%20/", "....\\\\", "%2e%2e%252f", "..%01/", "~/",
]  # fmt: skip
BEGINNINGS = [
    "/", "/data/", "/assets/", "/data/z2/", "/data/z2/../", "/api/image/", "/api/context/", "//", "///", "/data//",
    "/data/%2f", "/assets/%2f", "/assets/%00", "/data/./", "/data/manifest.json/", "/assets/app.js/", "/data/file://",
    "/data/%2fproc%2fself%2fcwd/", "/?path=", "/data/?", "/%2f", "/\\", "/assets/..", "/healthz/", "/licenses.txt/",
    "", "http://127.0.0.1/", "/data/#/", "/data/z2/mean.f32/", "/.", "/data/\\\\?\\",
]  # fmt: skip
ENDINGS = ["", "%00", "%00.f32", "?", "#", "/.", "%20", ".f32", ";.json", "::$DATA", "%23.js", "?t=x", "/", "%0a", "."]


def traversals(root: Path, count: int) -> list[str]:
    """Generated paths that try to leave the served folders."""
    rng = np.random.default_rng(20261121)
    absolute = str(root / "canary.txt")
    goals = [
        "canary.txt", "study/canary.txt", "z2/canary.txt", absolute, absolute[1:], f"proc/self/root{absolute}",
        f"/proc/self/root{absolute}", "etc/passwd", "proc/self/environ", "study.toml", "explorer/canary.txt",
    ]  # fmt: skip
    encoders = [
        lambda s: s,
        lambda s: s.replace("/", "%2f"),
        lambda s: s.replace("/", "%5c"),
        lambda s: "".join(f"%{b:02x}" for b in s.encode()),
        lambda s: s.replace("a", "%61").replace(".", "%2E"),
        lambda s: s.replace("/", "//"),
    ]
    made: dict[str, None] = {}
    for beginning, goal, ending in itertools.product(BEGINNINGS, goals, ENDINGS):
        made[beginning + goal + ending] = None
    while len(made) < count:
        ups = "".join(rng.choice(UPWARDS, size=rng.integers(1, 9)))
        goal = encoders[rng.integers(len(encoders))](str(rng.choice(goals)))
        made[str(rng.choice(BEGINNINGS)) + ups + goal + str(rng.choice(ENDINGS))] = None
    return list(made)[-count:]


def test_ten_thousand_paths_out_of_the_folders(target):
    paths = traversals(target.root, 10_000)
    assert len(set(paths)) == 10_000
    known = {p.read_bytes() for p in target.root.rglob("*") if p.is_file() and p.name != "canary.txt"}
    statuses: dict[int, int] = {}

    async def all_of_them() -> None:
        for path in paths:
            answer = await target.answer(path)
            assert CANARY not in answer.body, path
            assert b"root:" not in answer.body, path
            assert answer.status < 500, path
            is_ours = answer.body in known or b'"server":' in answer.body or b'{"status":"ok"}' in answer.body
            assert answer.status != 200 or is_ours, path
            statuses[answer.status] = statuses.get(answer.status, 0) + 1

    asyncio.run(all_of_them())
    assert statuses[404] > 9_000, statuses


PARAMETERS = {"{name}": "app.js", "{path:path}": "z2/mean.f32", "{row}": "0"}


def addresses(target: Target) -> list[tuple[str, str]]:
    """Method and path of everything that the application serves, read from its routes."""
    found = []
    for route in target.app.routes:
        path = route.path
        for parameter, value in PARAMETERS.items():
            path = path.replace(parameter, value)
        assert "{" not in path, f"this test does not know the parameter of {route.path}"
        found += [(method, path) for method in sorted(route.methods)]
    assert len(found) >= 15
    return found


def test_without_the_token_nothing_but_health_is_said(target):
    for method, path in [*addresses(target), ("GET", "/nothing"), ("POST", "/"), ("TRACE", "/"), ("BREW", "/data/x")]:
        for secret in (
            {}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}, {"authorization": TOKEN},
            {"authorization": "Bearer"}, {"cookie": f"zatlas-1={TOKEN}"}, {"cookie": f"zatlas-{PORT}="},
            {"cookie": f"zatlas-{PORT}=\xff\xfe"}, {"authorization": "Bearer \xff"},
        ):  # fmt: skip
            answer = target.ask(path, method=method, headers={"host": HOST, **secret})
            if path == WITHOUT_TOKEN:
                assert answer.status == 200
                assert answer.body in (b'{"status":"ok"}', b"")
            else:
                assert answer.status == 401, (method, path, secret)
                assert answer.code == "token"
            assert answer.headers["content-security-policy"] == SECURITY_HEADERS["Content-Security-Policy"]


def test_a_wrong_token_in_the_address(target):
    for given_token in ("", "x", TOKEN[:-1], f"{TOKEN}x", "%ff", "%00", "🐟"):
        answer = target.ask(f"/?t={given_token}", headers={"host": HOST})
        assert answer.status == 401
        assert "set-cookie" not in answer.headers
    assert target.ask(f"/data/manifest.json?t={TOKEN}", headers={"host": HOST}).status == 401
    assert target.ask(f"/?t={TOKEN}", method="POST", headers={"host": HOST}).status == 401


def test_other_names_are_refused_before_anything_else(target):
    names = [
        "evil.example", f"evil.example:{PORT}", "127.0.0.1", "localhost", f"localhost:{PORT + 1}",
        f"127.0.0.1.evil:{PORT}",
        f"localhost:{PORT}.evil", f"localhost@evil:{PORT}", f"127.0.0.2:{PORT}", f"0.0.0.0:{PORT}", f"[::2]:{PORT}", "",
        f"127.0.0.1:{PORT}, evil", f" 127.0.0.1:{PORT}", f"2130706433:{PORT}", f"127.0.0.1:0{PORT}",
        f"localhost.:{PORT}",
    ]  # fmt: skip
    for method, path in addresses(target):
        for name in names:
            for secret in ({}, {"authorization": f"Bearer {TOKEN}"}):
                answer = target.ask(path, method=method, headers={"host": name, **secret})
                assert (answer.status, answer.code) == (400, "host"), (path, name)
    assert target.ask("/", headers={"authorization": f"Bearer {TOKEN}"}).status == 400
    twice = [("host", HOST), ("host", HOST), ("authorization", f"Bearer {TOKEN}")]
    assert target.ask("/", headers=twice).status == 400
    for name in (f"localhost:{PORT}", f"LOCALHOST:{PORT}", f"[::1]:{PORT}"):
        assert target.ask("/", headers={**GOOD, "host": name}).status == 200


def test_a_rebound_name_reads_nothing(target):
    """DNS rebinding: a GET without Origin, to our address but under the attacker's name."""
    for path in ("/", "/data/manifest.json", f"/?t={TOKEN}", WITHOUT_TOKEN):
        rebound = {"host": f"rebound.example:{PORT}", "cookie": f"zatlas-{PORT}={TOKEN}"}
        assert target.ask(path, headers=rebound).status == 400


@pytest.mark.parametrize(
    "foreign",
    [
        {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": ""}, {"origin": f"https://{HOST}"},
        {"origin": f"http://127.0.0.1:{PORT + 1}"}, {"origin": f"http://localhost:{PORT}"}, {"origin": f"http://{HOST}/"},
        {"origin": f"http://{HOST}.evil"}, {"origin": "file://"}, {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"}, {"sec-fetch-site": "nonsense"},
        {"origin": f"http://{HOST}", "sec-fetch-site": "cross-site"},
    ],
)  # fmt: skip
def test_pages_elsewhere_are_refused(target, foreign):
    for method, path in addresses(target):
        answer = target.ask(path, method=method, headers={**GOOD, **foreign})
        assert (answer.status, answer.code) == (403, "origin"), path
        assert "access-control-allow-origin" not in answer.headers


def test_our_own_page_is_let_in(target):
    body = (b'{"model": "z2", "z": [[0, 0.5]]}',)
    own = {**GOOD, "origin": f"http://{HOST}", "sec-fetch-site": "same-origin", "content-type": "application/json"}
    assert target.ask("/api/decode", method="POST", headers=own, chunks=body).status == 200


def test_a_proxy_is_let_in_under_its_name(target, made):
    page, bundle = target.root / "static", target.root / "study" / "explorer"
    access = AccessRules(token=TOKEN, port=PORT, allowed_hosts=("hub.example.org", "other.example:8443"))
    proxied = Target(app(ServedStudy(bundle=bundle, study=made, page=page, access=access)), target.root)
    for name, status in {"hub.example.org": 200, "hub.example.org:9000": 200, "other.example:8443": 200,
                         "other.example": 400, "evil.hub.example.org": 400, HOST: 200}.items():  # fmt: skip
        assert proxied.ask("/", headers={**GOOD, "host": name}).status == status, name
    own = {**GOOD, "host": "hub.example.org", "origin": "https://hub.example.org"}
    assert proxied.ask("/", headers=own).status == 200


def test_long_addresses_and_long_bodies_end_early(target):
    assert target.ask("/data/" + "a" * 9000).status == 414
    assert target.ask("/?" + "a" * 9000).status == 414
    for length in (
        str(MOST_BODY_BYTES + 1),
        str(80_000_000),
        "9" * 30,
        "-1",
        "1e3",
        "x",
        "",
        "٣".encode().decode("latin-1"),
    ):
        declared = {**GOOD, "content-length": length}
        for method, path in addresses(target):
            assert target.ask(path, method=method, headers=declared).status == 413, (path, length)


def test_a_body_without_a_length_is_cut_off(target):
    class Counted(list[bytes]):
        """Knows how often it was asked."""

        taken = 0

        def pop(self, index: Any = 0) -> bytes:
            self.taken += 1
            return super().pop(index)

    chunks = Counted([b"0" * 100_000] * 800)
    headers = {**GOOD, "content-type": "application/json"}
    answer = asyncio.run(target.answer("/api/decode", "POST", headers, chunks))
    assert (answer.status, answer.code) == (413, "too-large")
    assert chunks.taken == 11, "it was read no further than 1 MB"


def test_more_requests_than_the_server_takes_are_told_to_wait(target):
    async def refuse(*_: object) -> None:
        raise AssertionError("it went through")

    guard = Guard(refuse, AccessRules(token=TOKEN, port=PORT))
    guard.running = 64
    full = Target(guard, target.root)
    answer = full.ask("/")
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "busy", "1")
    assert full.ask("/", headers={"host": HOST}).status == 401, "who has no token does not learn even that"


def test_a_request_that_breaks_off_is_no_failure(target):
    answer = target.ask("/api/decode", method="POST", headers={**GOOD, "content-type": "application/json"}, chunks=())
    assert answer.status == 400


def test_an_unforeseen_error_says_only_its_number(target, monkeypatch, caplog):
    def fail(*_: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("zatlas.explorer.server.serving.latents_asked_for", fail)

    async def run() -> None:
        with pytest.raises(ZeroDivisionError):
            await target.answer("/api/decode", "POST", GOOD)

    asyncio.run(run())
    assert "secret detail" in caplog.text
    client = TestClient(target.app, base_url=f"http://{HOST}", raise_server_exceptions=False)
    response = client.post("/api/decode", headers=GOOD)
    assert response.status_code == 500
    assert set(response.json()) == {"code", "message", "id"}
    assert "secret detail" not in response.text
    assert response.json()["id"] in caplog.text
    assert response.headers["content-security-policy"] == SECURITY_HEADERS["Content-Security-Policy"]


def test_a_web_socket_is_closed(target):
    sent = []

    async def connect() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "websocket", "path": "/", "headers": [], "query_string": b"", "root_path": ""}
        await target.app(scope, receive, send)

    asyncio.run(connect())
    assert sent == [{"type": "websocket.close", "code": 1008}]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=30,
)
NEARLY = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["z2", "z3", "z9", "", "../z2"]) | JSON,
        "z": st.lists(st.lists(st.integers() | st.floats() | JSON, max_size=4), max_size=4) | JSON,
    }
)
BODIES = (JSON | NEARLY).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200)
PATHS = (
    st.sampled_from([
        "/", "/assets/app.js", "/licenses.txt", "/data/manifest.json", "/data/z2/mean.f32", "/api/decode",
        "/api/image/0", "/api/context/3", "/healthz",
    ])
    | st.text(max_size=40).map(lambda text: f"/{text}")
    | st.tuples(
        st.sampled_from(["/assets/", "/data/", "/api/image/", "/api/context/", "/api/"]),
        st.text(alphabet="0123456789.%/\\abcdef\0\n?#", max_size=30),
    ).map("".join)
)  # fmt: skip
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "BREW"])
LATIN = st.text(alphabet=st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=40)
HEADERS = st.dictionaries(
    st.sampled_from([
        "range", "if-range", "if-none-match", "content-type", "content-length", "cookie", "authorization", "origin",
        "host", "sec-fetch-site", "accept", "transfer-encoding", "x-forwarded-host", "expect", "upgrade",
    ]),
    LATIN | st.sampled_from(["bytes=0-", "bytes=-1", "bytes=9-2", "application/json", "0", "none", "same-origin"]),
    max_size=4,
)  # fmt: skip


@given(
    path=PATHS, method=METHODS, headers=HEADERS, body=st.lists(BODIES, min_size=1, max_size=3), is_known=st.booleans()
)
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
def test_noise_is_answered_without_failing(target, path, method, headers, body, is_known):
    given_headers = {**(GOOD if is_known else {"host": HOST}), **headers}
    answer = target.ask(path, method=method, headers=given_headers, chunks=tuple(body))
    assert answer.status < 500 or (answer.status == 503 and "retry-after" in answer.headers)
    assert answer.headers["x-content-type-options"] == "nosniff"
    if answer.status >= 400 and method != "HEAD":
        assert set(json.loads(answer.body)) == {"code", "message", "id"}


@given(body=BODIES)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_body_to_decode_is_answered(target, body):
    headers = {**GOOD, "content-type": "application/json"}
    answer = target.ask("/api/decode", method="POST", headers=headers, chunks=(body,))
    assert answer.status in (200, 400, 404, 422)
