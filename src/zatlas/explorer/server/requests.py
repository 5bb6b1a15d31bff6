"""What the server understands, and how it answers when it does not: bodies checked by hand, errors as JSON.

An error says what was expected; it never repeats what was sent, and names no path.
"""

import json
import math
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from starlette.requests import Request
from starlette.responses import JSONResponse

from zatlas.randomness import MOST_DRAWS

__all__ = [
    "MOST_BODY_BYTES", "MOST_LATENTS", "Asked", "Refused", "latents_among", "latents_asked_for", "problem", "read_body",
    "row_asked_for",
]  # fmt: skip

MOST_BODY_BYTES = 1_000_000
MOST_LATENTS = 64
_LARGEST_LATENT = 1000.0


class Refused(Exception):
    """A request that cannot be served, with the answer to give.

    Args:
        status: HTTP status.
        code: One word for programs.
        message: One sentence for people.
        retry_after_s: When it may be worth asking again; 0 says nothing about it.
    """

    def __init__(self, status: int, code: str, message: str, *, retry_after_s: int = 0) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.retry_after_s = status, code, message, retry_after_s

    def answer(self) -> JSONResponse:
        """The answer as JSON."""
        headers = {"Retry-After": str(self.retry_after_s)} if self.retry_after_s else None
        return problem(self.status, self.code, self.message, headers=headers)


def problem(
    status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None, id_: str = ""
) -> JSONResponse:
    """An error as JSON: {code, message, id}; the id is in the log where there is more to say."""
    content = {"code": code, "message": message, "id": id_ or secrets.token_hex(6)}
    return JSONResponse(content, status_code=status, headers=headers)


def row_asked_for(text: str, n: int) -> int:
    """A row number of a path.

    Raises:
        Refused: 404, it is not a whole number from 0 to `n` - 1.
    """
    is_number = text.isascii() and text.isdigit() and len(text) <= 9
    if not is_number or int(text) >= n:
        raise Refused(404, "no-such-row", "there is no image of this row")
    return int(text)


async def read_body(request: Request, *, most_bytes: int = MOST_BODY_BYTES) -> bytes:
    """The body of a request, read in chunks.

    Raises:
        Refused: 413, it is longer than `most_bytes`.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most_bytes:
            raise too_large(most_bytes)
    return bytes(body)


def too_large(most_bytes: int) -> Refused:
    """The answer to a body that is too long."""
    return Refused(413, "too-large", f"a request may be at most {most_bytes} bytes long")


class Asked(NamedTuple):
    """What is to be decoded: latents (n, d) by a model, with the texture of a draw."""

    model: str
    z: list[list[float]]
    draw: int


def latents_asked_for(content_type: str, body: bytes, latent_dims: Mapping[str, int]) -> Asked:
    """What a request wants to have decoded.

    Args:
        content_type: Of the body; only application/json is read.
        body: {"model": name, "z": [[d numbers], ...]}, and perhaps "draw".
        latent_dims: Number of dimensions d of each model that can be asked for.

    Raises:
        Refused: 415 not JSON by its type, 400 not JSON, 404 no such model, 422 latents of another shape or range.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "not-json", "the body must be application/json")
    return latents_among(_parsed(body), latent_dims)


def latents_among(asked: Any, latent_dims: Mapping[str, int]) -> Asked:
    """What a message wants to have decoded.

    Args:
        asked: {"model": name, "z": [[d numbers], ...]}, and perhaps "draw", the number of a texture (1 without it).
        latent_dims: Number of dimensions d of each model that can be asked for.

    Raises:
        Refused: 404 no such model, 422 latents of another shape or range, or no such draw.
    """
    if not isinstance(asked, dict) or set(asked) - {"draw"} != {"model", "z"}:
        raise Refused(422, "fields", "the body must be an object with the two fields model and z")
    draw = asked.get("draw", 1)
    if not isinstance(draw, int) or isinstance(draw, bool) or not 1 <= draw <= MOST_DRAWS:
        raise Refused(422, "draw", f"draw must be a whole number from 1 to {MOST_DRAWS}")
    model, latents = asked["model"], asked["z"]
    if not isinstance(model, str) or model not in latent_dims:
        raise Refused(404, "no-such-model", "there is no such model to decode with")
    if not isinstance(latents, list) or not 1 <= len(latents) <= MOST_LATENTS:
        raise Refused(422, "latents", f"z must be a list of 1 to {MOST_LATENTS} latents")
    if not all(_is_latent(latent, latent_dims[model]) for latent in latents):
        expected = f"each latent must be a list of {latent_dims[model]} numbers from -1000 to 1000"
        raise Refused(422, "latent", expected)
    return Asked(model, [[float(value) for value in latent] for latent in latents], draw)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as err:
        raise Refused(400, "not-json", "the body is not JSON (NaN and infinity are not JSON either)") from err


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _is_latent(latent: Any, d: int) -> bool:
    return isinstance(latent, list) and len(latent) == d and all(_is_number(value) for value in latent)


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool))
    return is_number and abs(value) <= _LARGEST_LATENT and math.isfinite(value)
