"""What every request to the server passes before anything else looks at it.

`Guard` stands before routing: which Host and Origin a request names, whether it carries the token, how long it is, how
many run at once; and it puts the security headers on every answer. `PatientProtocol` is the connection itself: a
request that has not arrived whole after some seconds is dropped, and of connections that say nothing only the newest
are kept, so that they cannot keep others out.

A page elsewhere on the web can make a browser send requests here. It cannot read the answers (no CORS headers), is
turned away by its Origin, by Sec-Fetch-Site, by a Host that is not ours (DNS rebinding), and holds no token.
"""

import asyncio
import hmac
import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import h11
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from zatlas.explorer.server.requests import MOST_BODY_BYTES, Refused, too_large

__all__ = ["SECURITY_HEADERS", "WITHOUT_TOKEN", "AccessRules", "Guard", "PatientProtocol"]

WITHOUT_TOKEN = "/healthz"
"""The one path that asks for no token; it says nothing but that the server runs."""

_LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")
_MOST_URL_BYTES = 8192
_MOST_AT_ONCE = 64
_TICKET_LASTS_S = 120.0
_HOP = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=./"><title>zatlas</title>'

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self' blob: data:; worker-src blob: 'self'; frame-ancestors 'none'; base-uri 'none'; "
        "form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


@dataclass(kw_only=True)
class AccessRules:
    """Who may come in.

    Args:
        token: The secret of this start; 128 random bits by default.
        port: Of the server; 0 where there is none (a Unix socket), then local names are good with any port.
        allowed_hosts: Other names under which the server is reached, such as a proxy's; with a port or without.
    """

    token: str = field(default_factory=lambda: secrets.token_urlsafe(16), repr=False)
    port: int = 0
    allowed_hosts: tuple[str, ...] = ()
    _tickets: dict[str, float] = field(default_factory=dict, repr=False)

    @property
    def cookie(self) -> str:
        """Name of the cookie; it carries the port because cookies do not tell ports apart."""
        return f"zatlas-{self.port}"

    def ticket(self) -> str:
        """A secret that lets in once and soon: it may be seen in the list of processes, the token may not."""
        ticket = secrets.token_urlsafe(16)
        self._tickets[ticket] = time.monotonic() + _TICKET_LASTS_S
        return ticket

    def knows_host(self, host: str) -> bool:
        """Whether a Host header names this server."""
        host = host.lower()
        name, separator, port = host.rpartition(":")
        if not separator or not port.isdigit():
            name, port = host, ""
        others = [other.lower() for other in self.allowed_hosts]
        if host in others or name in others:
            return True
        return name in _LOCAL_NAMES and (not self.port or port == str(self.port) or (not port and self.port == 80))

    def knows_origin(self, origin: str, host: str) -> bool:
        """Whether an Origin header is the server's own; https only where a proxy may speak it."""
        is_local = host.rpartition(":")[0] in _LOCAL_NAMES or host in _LOCAL_NAMES
        return origin.lower() in {f"http://{host.lower()}", *([] if is_local else [f"https://{host.lower()}"])}

    def is_open_to(self, headers: Headers) -> bool:
        """Whether a request carries the token, as a cookie or as a bearer token."""
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        given = [bearer.strip()] if scheme.lower() == "bearer" else []
        given += [cookie_parser(line).get(self.cookie, "") for line in headers.getlist("cookie")]
        return any(self._is_token(secret) for secret in given)

    def takes(self, secret: str) -> bool:
        """Whether `secret` is the token, or a ticket, which is then used up."""
        expires = 0.0
        for ticket in list(self._tickets):
            if _same(ticket, secret):
                expires = self._tickets.pop(ticket)
        return self._is_token(secret) or time.monotonic() < expires

    def _is_token(self, secret: str) -> bool:
        return _same(self.token, secret)


def _same(secret: str, given: str) -> bool:
    return hmac.compare_digest(secret.encode(), given.encode("utf-8", "surrogatepass"))


class Guard:
    """The first middleware: lets a request through to the routes or answers it itself.

    Args:
        app: What comes behind.
        access: Who may come in.
    """

    def __init__(self, app: ASGIApp, access: AccessRules) -> None:
        self.app, self.access, self.running = app, access, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        send = _with_security_headers(send)
        try:
            answer = self._answer(scope)
        except Refused as refused:
            answer = refused.answer()
        if answer is not None:
            await answer(scope, receive, send)
            return
        self.running += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.running -= 1

    def _answer(self, scope: Scope) -> Response | None:
        """The answer that needs no route; None lets the request through."""
        headers = Headers(scope=scope)
        self._check_address(scope, headers)
        secrets_given = self._secrets_in_address(scope)
        if secrets_given:
            return self._exchange(secrets_given, headers)
        self._check_sender(headers)
        if scope["path"] == WITHOUT_TOKEN:
            return None
        if not self.access.is_open_to(headers):
            raise Refused(401, "token", "open the address that zatlas explore printed: it carries the token")
        if self.running >= _MOST_AT_ONCE:
            raise Refused(503, "busy", "too many requests at once", retry_after_s=1)
        return None

    def _check_address(self, scope: Scope, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self.access.knows_host(hosts[0]):
            message = "this server does not answer to the name in the address; --allowed-host NAME allows one more"
            raise Refused(400, "host", message)
        if len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"") > _MOST_URL_BYTES:
            raise Refused(414, "too-long", "the address is too long")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or len(length) > 18 or int(length) > MOST_BODY_BYTES:
            raise too_large(MOST_BODY_BYTES)

    def _check_sender(self, headers: Headers) -> None:
        origins = headers.getlist("origin")
        if any(not self.access.knows_origin(origin, headers["host"]) for origin in origins):
            raise Refused(403, "origin", "requests from other pages are not answered")
        if headers.get("sec-fetch-site", "none").strip().lower() not in ("none", "same-origin"):
            raise Refused(403, "origin", "requests from other pages are not answered")

    def _secrets_in_address(self, scope: Scope) -> list[str]:
        if scope["path"] != "/" or scope["method"] != "GET":
            return []
        return parse_qs(scope.get("query_string", b"").decode("latin-1")).get("t", [])

    def _exchange(self, given: list[str], headers: Headers) -> Response:
        """The token of the address for a cookie, then the address again without it.

        A link followed from another site goes on by a page of ours: the cookie is sent only with requests that begin
        here, which a redirect does not.
        """
        is_open = self.access.is_open_to(headers)
        if not self.access.takes(given[0]) and not is_open:
            raise Refused(
                401, "token", "this address has been used or is of an earlier start; start zatlas explore again"
            )
        is_ours = headers.get("sec-fetch-site", "none") in ("none", "same-origin")
        answer = RedirectResponse("./", status_code=303) if is_ours else HTMLResponse(_HOP)
        answer.set_cookie(self.access.cookie, self.access.token, path="/", httponly=True, samesite="strict")
        return answer


def _with_security_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers[name] = value
        await send(message)

    return sent


class PatientProtocol(H11Protocol):
    """A connection that waits for a request, but not for ever, and not together with too many others.

    A request must arrive whole within `patience_s`; uvicorn itself would wait for ever. Of the connections that still
    wait for theirs, only the newest `most_waiting` are kept: a request that is sent at once waits for nothing.
    """

    patience_s = 10.0
    most_waiting = 64
    _waiting: dict["PatientProtocol", asyncio.TimerHandle] = {}  # noqa: RUF012  one per class, made by `with_patience`

    @classmethod
    def with_patience(cls, patience_s: float) -> type["PatientProtocol"]:
        """The same protocol with its own patience and its own list of who waits."""
        return type("PatientProtocol", (cls,), {"patience_s": patience_s, "_waiting": {}})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take what has come; stop waiting when the request is whole."""
        self._wait()
        super().data_received(data)
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._wait_no_more()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self in self._waiting:
            return
        self._waiting[self] = self.loop.call_later(self.patience_s, self._give_up)
        if len(self._waiting) > self.most_waiting:
            next(iter(self._waiting))._give_up()

    def _wait_no_more(self) -> None:
        timer = self._waiting.pop(self, None)
        if timer is not None:
            timer.cancel()

    def _give_up(self) -> None:
        self._wait_no_more()
        if self.transport is not None and not self.transport.is_closing():
            self.transport.abort() if self._is_answering() else self.transport.close()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP; where an answer is under way already, only close."""
        if self._is_answering() or self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
            return
        answer = Refused(400, "not-http", "this is not HTTP").answer()
        headers: list[Any] = [*answer.raw_headers, (b"connection", b"close")]
        headers += [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
