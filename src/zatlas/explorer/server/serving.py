"""The local web server of the explorer: the page, the bundle, and what a browser cannot do itself.

It answers on this computer alone and only to who holds the token. It reads and computes, and changes nothing. Nothing
in a request is used as a path: files are those that the manifest lists, images are numbers.

What it adds to the files: latents decoded by the trained model (for decoders too heavy for a browser), images at their
full size, and the place of a tile in its section.
"""

import asyncio
import contextlib
import dataclasses
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from zatlas.errors import UsageError
from zatlas.explorer.page import START, page_files, static_folder
from zatlas.explorer.server.folder import BundleFacts, ServedFiles
from zatlas.explorer.server.guard import SECURITY_HEADERS, WITHOUT_TOKEN, AccessRules, Guard, PatientProtocol
from zatlas.explorer.server.requests import Refused, latents_asked_for, problem, read_body, row_asked_for
from zatlas.explorer.server.work import Decoders, Images, Worker
from zatlas.studies.study import Study

__all__ = ["LOOPBACK", "ServedStudy", "app", "serve"]

log = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_KEEP_ALIVE_S = 5
_STOPS_WITHIN_S = 0
_TICKS_PER_S = 10
_ANY_ADDRESS = ("0.0.0.0", "::")
_WORDS = {404: ("not-found", "there is nothing at this address"), 405: ("method", "this address is only read")}


@dataclass(kw_only=True)
class ServedStudy:
    """What is served, and to whom.

    Args:
        bundle: Folder of the explorer's files, with manifest.json.
        study: Whose models decode and whose images are shown; without it there are only the files.
        page: Folder of the built page; by default the one of this installation.
        access: Who may come in.
        worker: What computes.
    """

    bundle: Path
    study: Study | None = None
    page: Path = field(default_factory=static_folder)
    access: AccessRules = field(default_factory=AccessRules)
    worker: Worker = field(default_factory=Worker)


def app(served: ServedStudy) -> Starlette:
    """The web application.

    Raises:
        DataError: the page was not built, or the bundle is damaged.
    """
    site = _Site(served)
    routes = [
        Route("/", site.start, methods=["GET"]),
        Route("/assets/{name}", site.asset, methods=["GET"]),
        Route("/licenses.txt", site.licenses, methods=["GET"]),
        Route("/data/{path:path}", site.data, methods=["GET"]),
        Route("/api/decode", site.decode, methods=["POST"]),
        Route("/api/image/{row}", site.image, methods=["GET"]),
        Route("/api/context/{row}", site.context, methods=["GET"]),
        Route(WITHOUT_TOKEN, _health, methods=["GET"]),
    ]
    made = Starlette(
        routes=routes, middleware=[Middleware(Guard, access=served.access)], lifespan=site.lifespan,
        exception_handlers={
            Refused: _refused, HTTPException: _not_served, ClientDisconnect: _gone, Exception: _our_mistake
        },
    )  # fmt: skip
    made.router.redirect_slashes = False
    return made


class _Site:
    """The handlers of the routes."""

    def __init__(self, served: ServedStudy) -> None:
        self.worker = served.worker
        self.page = ServedFiles(served.page, page_files(served.page), may_be_links=True)
        facts = BundleFacts.read(served.bundle)
        self.bundle = ServedFiles(served.bundle, facts.hashes, facts.hashes)
        self.n, self.latent_dims = facts.n, facts.latent_dims
        self.decoders = Decoders(served.study) if served.study else None
        self.images = Images(served.study, facts.n, facts.display) if served.study else None
        has_images = self.images is not None and self.images.may_be_there
        self.manifest = facts.manifest_with(decode=self.decoders is not None, images=has_images)

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Open the images while the server runs."""
        if self.images is not None:
            self.images.open()
        yield
        self.worker.close()

    async def start(self, request: Request) -> Response:
        """GET /"""
        return self.page.answer(START, request.headers)

    async def asset(self, request: Request) -> Response:
        """GET /assets/NAME"""
        return self.page.answer(f"assets/{request.path_params['name']}", request.headers)

    async def licenses(self, request: Request) -> Response:
        """GET /licenses.txt"""
        return self.page.answer("licenses.txt", request.headers)

    async def data(self, request: Request) -> Response:
        """GET /data/PATH"""
        path = request.path_params["path"]
        if path == "manifest.json":
            return Response(self.manifest, media_type="application/json")
        return self.bundle.answer(path, request.headers)

    async def decode(self, request: Request) -> Response:
        """POST /api/decode"""
        body = await read_body(request)
        dims = self.latent_dims if self.decoders is not None else {}
        asked = latents_asked_for(request.headers.get("content-type", ""), body, dims)
        decoders = self.decoders
        assert decoders is not None, "without decoders no model can be asked for"
        frames = await self.worker.run(lambda is_over: decoders.decode(asked, is_over))
        return Response(frames, media_type="application/octet-stream")

    async def image(self, request: Request) -> Response:
        """GET /api/image/ROW"""
        images, row = self._image_asked_for(request)
        return Response(await self.worker.run(lambda is_over: images.image(row, is_over)), media_type="image/png")

    async def context(self, request: Request) -> Response:
        """GET /api/context/ROW"""
        images, row = self._image_asked_for(request)
        png, box = await self.worker.run(lambda is_over: images.context(row, is_over))
        return Response(png, media_type="image/png", headers={"X-Zatlas-Box": ",".join(map(str, box))})

    def _image_asked_for(self, request: Request) -> tuple[Images, int]:
        row = row_asked_for(request.path_params["row"], self.n)
        if self.images is None:
            raise Refused(404, "images-gone", "the images of this study are not where they were")
        return self.images, row


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _refused(_: Request, err: Exception) -> Response:
    assert isinstance(err, Refused)
    return err.answer()


async def _not_served(_: Request, err: Exception) -> Response:
    assert isinstance(err, HTTPException)
    code, message = _WORDS.get(err.status_code, ("refused", "this is not answered"))
    return problem(err.status_code, code, message, headers=err.headers)


async def _gone(_: Request, err: Exception) -> Response:
    return problem(400, "cut-short", "the request ended before it was complete")


async def _our_mistake(_: Request, err: Exception) -> Response:
    """What we did not foresee: the traceback goes to the log under an id, the answer says only that id."""
    id_ = secrets.token_hex(6)
    log.error("explorer: request %s failed", id_, exc_info=err)
    return problem(500, "our-mistake", "something went wrong in the server", headers=SECURITY_HEADERS, id_=id_)


def serve(
    served: ServedStudy,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    unix_socket: Path | None = None,
    is_understood: bool = False,
    patience_s: float = 10.0,
    on_ready: Callable[[str, AccessRules], None] = lambda address, access: None,
) -> None:
    """Serve until Ctrl-C, a SIGTERM or the end of the process that started this one.

    Args:
        served: What is served; the port of its `access` is set here.
        host: Address to listen on.
        port: 0 takes a free one.
        unix_socket: Listen on this socket instead, which only its owner can open.
        is_understood: Others may reach the server at `host`, and that is meant.
        patience_s: Within which a request must have arrived whole [s].
        on_ready: Called when connections are accepted, with the address ("" for a socket) without the token, and
            who may come in.

    Raises:
        UsageError: `host` is not this computer alone and `is_understood` is false, or the port is taken.
        DataError: the page was not built, or the bundle is damaged.
    """
    allowed = _check_host(host, served.access, is_understood=is_understood, is_socket=unix_socket is not None)
    sockets = [_unix_listener(unix_socket)] if unix_socket else _listeners(host, port)
    port = 0 if unix_socket else int(sockets[0].getsockname()[1])
    served.access = dataclasses.replace(served.access, port=port, allowed_hosts=allowed)
    try:
        config = uvicorn.Config(
            app(served), http=PatientProtocol.with_patience(patience_s), ws="none", loop="asyncio", lifespan="on",
            access_log=False, log_config=None, server_header=False, proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S, timeout_graceful_shutdown=_STOPS_WITHIN_S,
        )  # fmt: skip
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
        address = "" if unix_socket else _address(host, port, allowed)
        server = _Server(config, served.worker, lambda: on_ready(address, served.access))
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(server.serve(sockets=sockets))
    finally:
        for listener in sockets:
            listener.close()
        if unix_socket:
            unix_socket.unlink(missing_ok=True)


class _Server(uvicorn.Server):
    """uvicorn, which says when it is ready and stops with the process that started it."""

    def __init__(self, config: uvicorn.Config, worker: Worker, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.worker, self.on_ready, self.parent = worker, on_ready, os.getppid()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets=sockets)
        if self.started:
            self.on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop what is being computed, then the rest: nothing that a person would wait for gets lost."""
        self.worker.close()
        await super().shutdown(sockets=sockets)

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop, asked ten times a second."""
        return await super().on_tick(counter) or (counter % _TICKS_PER_S == 0 and os.getppid() != self.parent)


def _check_host(host: str, access: AccessRules, *, is_understood: bool, is_socket: bool) -> tuple[str, ...]:
    """The names under which the server may be reached."""
    if is_socket or host in LOOPBACK:
        return access.allowed_hosts
    if not is_understood:
        raise UsageError(
            f"--host {host} lets other computers reach the images, over a connection that is not encrypted",
            hint="ssh -L PORT:localhost:PORT reaches this computer safely; or add --i-understand",
        )
    if host in _ANY_ADDRESS and not access.allowed_hosts:
        raise UsageError(f"--host {host} needs the name by which others reach it", hint="add --allowed-host NAME")
    return (*access.allowed_hosts, _shown(host))


def _address(host: str, port: int, allowed: tuple[str, ...]) -> str:
    """What a person opens: a server that listens everywhere is reached by its name."""
    return f"http://{allowed[0] if host in _ANY_ADDRESS else _shown(host)}:{port}/"


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _listeners(host: str, port: int) -> list[socket.socket]:
    """Listening sockets: one, or for this computer one for each of its two addresses where both are free."""
    wanted = "127.0.0.1" if host == "localhost" else host
    first = _listener(wanted, port)
    others = []
    if wanted == "127.0.0.1":
        with contextlib.suppress(UsageError):
            others.append(_listener("::1", int(first.getsockname()[1])))
    return [first, *others]


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = None
    try:
        listener = socket.socket(family, socket.SOCK_STREAM)
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()  # at once: two sockets that only bind could have the same port
    except (OSError, OverflowError) as err:
        if listener is not None:
            listener.close()
        raise UsageError(
            f"cannot listen on {_shown(host)} port {port}: {getattr(err, 'strerror', None) or err}",
            hint="choose another --port, or leave it out for a free one",
        ) from err
    return listener


def _unix_listener(path: Path) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise UsageError("this system has no Unix sockets", hint="leave out --socket")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError as err:
        listener.close()
        raise UsageError(
            f"cannot make the socket {path}: {err.strerror or err}", hint="choose another --socket"
        ) from err
    finally:
        os.umask(old)
    return listener
