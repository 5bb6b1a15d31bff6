"""The server in ordinary use: the page, the bundle, decoding, images, and who is let in."""

import asyncio
import io
import json
import logging
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.datastructures import Headers
from starlette.testclient import TestClient
from toy_explorer import PORT, TOKEN, toy_bundle, toy_client, toy_study, with_images_at

from zatlas.errors import DataError, UsageError
from zatlas.explorer.page import page_files
from zatlas.explorer.server import serving
from zatlas.explorer.server.folder import ServedFiles
from zatlas.explorer.server.guard import SECURITY_HEADERS, AccessRules
from zatlas.explorer.server.requests import Refused
from zatlas.explorer.server.work import Images, Worker, shrunk
from zatlas.images.source import ArraySource
from zatlas.studies.study import Study
from zatlas.tiles.transforms import Scaling


@pytest.fixture(scope="module")
def client(bundle: Path, page: Path, made: Study) -> Iterator[TestClient]:
    with toy_client(bundle, page, made) as client:
        yield client


def code_of(response) -> str:
    assert set(response.json()) == {"code", "message", "id"}
    return response.json()["code"]


# the page and the files


def test_the_page_and_its_files_are_served(client, page, bundle):
    assert client.get("/").content == (page / "index.html").read_bytes()
    script = client.get("/assets/app.js")
    assert script.content == (page / "assets" / "app.js").read_bytes()
    assert script.headers["content-type"].startswith("text/javascript")
    assert client.get("/assets/ort.wasm").headers["content-type"] == "application/wasm"
    assert client.get("/licenses.txt").text == "Licences\n"
    assert client.get("/data/z2/mean.f32").content == (bundle / "z2" / "mean.f32").read_bytes()


def test_the_manifest_says_what_the_server_adds(client, bundle):
    served = client.get("/data/manifest.json").json()
    assert served.pop("server") == {"decode": True, "images": True}
    assert served == json.loads((bundle / "manifest.json").read_text())


def test_without_a_study_there_are_only_files(bundle, page):
    with toy_client(bundle, page, None) as client:
        assert client.get("/data/manifest.json").json()["server"] == {"decode": False, "images": False}
        assert code_of(client.get("/api/image/0")) == "images-gone"
        assert client.post("/api/decode", json={"model": "z2", "z": [[0, 0]]}).status_code == 404


def test_every_answer_has_the_security_headers(client):
    for path in ("/", "/data/manifest.json", "/nothing", "/healthz", "/api/image/0", "/?t=wrong"):
        headers = client.get(path).headers
        for name, value in SECURITY_HEADERS.items():
            assert headers[name] == value, path
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers
    assert "unsafe-inline" not in SECURITY_HEADERS["Content-Security-Policy"]
    assert "'unsafe-eval'" not in SECURITY_HEADERS["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-0", 0, 0), ("bytes=100-", 100, 10239), ("bytes=-7", 10233, 10239), ("bytes=5-99999", 5, 10239)],
)
def test_ranges(client, bundle, asked, first, last):
    whole = (bundle / "z3" / "decoder.onnx").read_bytes()
    response = client.get("/data/z3/decoder.onnx", headers={"Range": asked})
    assert response.status_code == 206
    assert response.content == whole[first : last + 1]
    assert response.headers["content-range"] == f"bytes {first}-{last}/{len(whole)}"


@pytest.mark.parametrize("asked", ["bytes=20000-", "bytes=9-3", "bytes=-0"])
def test_ranges_outside_the_file(client, asked):
    response = client.get("/data/z3/decoder.onnx", headers={"Range": asked})
    assert (response.status_code, code_of(response)) == (416, "range")


@pytest.mark.parametrize("asked", ["", "bytes=-", "lines=1-2", "bytes=a-b", "bytes=0-1,4-5", "bytes=" + "9" * 40 + "-"])
def test_what_is_no_range_gets_the_whole_file(client, asked):
    response = client.get("/data/z3/decoder.onnx", headers={"Range": asked})
    assert (response.status_code, len(response.content)) == (200, 10240)


def test_etag_is_the_hash_of_the_content(client, bundle):
    listed = json.loads((bundle / "manifest.json").read_text())["files"]["z2/mean.f32"]
    tag = client.get("/data/z2/mean.f32").headers["etag"]
    assert tag == f'"{listed["sha256"]}"'
    assert client.get("/data/z2/mean.f32", headers={"If-None-Match": tag}).status_code == 304
    old = client.get("/data/z2/mean.f32", headers={"Range": "bytes=0-3", "If-Range": '"older"'})
    assert (old.status_code, len(old.content)) == (200, 192)


def test_head_sends_no_body(client):
    response = client.head("/data/z3/decoder.onnx")
    assert (response.status_code, response.content, response.headers["content-length"]) == (200, b"", "10240")


def test_a_file_that_is_not_listed_does_not_exist(client, bundle):
    (bundle / "secret.txt").write_text("secret")
    response = client.get("/data/secret.txt")
    assert (response.status_code, code_of(response)) == (404, "no-such-file")


def test_links_and_missing_files_are_refused(made, page, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    bundle = toy_bundle(tmp_path / "explorer", made)
    listed = bundle / "z2" / "mean.f32"
    with toy_client(bundle, page, made) as client:
        listed.unlink()
        assert code_of(client.get("/data/z2/mean.f32")) == "file-gone"
        listed.symlink_to(secret)
        assert code_of(client.get("/data/z2/mean.f32")) == "file-gone"
        shutil.move(bundle / "z3", tmp_path / "z3")
        (bundle / "z3").symlink_to(tmp_path / "z3")
        assert code_of(client.get("/data/z3/mean.f32")) == "file-gone"
    with pytest.raises(DataError, match="is listed but is not a file"):
        toy_client(bundle, page, made)


def test_a_link_that_takes_the_place_of_a_file_while_it_is_answered_is_not_followed(tmp_path):
    """What was opened and looked at is what is sent: a file opened by its path after the look could be another."""
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "bundle").mkdir()
    listed = tmp_path / "bundle" / "mean.f32"
    listed.write_bytes(b"public")
    answer = ServedFiles(tmp_path / "bundle", ["mean.f32"]).answer("mean.f32", Headers())
    listed.unlink()
    listed.symlink_to(tmp_path / "secret")
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "GET", "headers": [], "asgi": {"spec_version": "2.4"}}
    asyncio.run(answer(scope, receive, send))
    assert b"".join(message.get("body", b"") for message in sent) == b"public"
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(answer.descriptor)


@pytest.mark.parametrize("name", ["../toy.txt", "/etc/passwd"])
def test_a_manifest_cannot_list_files_elsewhere(made, page, tmp_path, name):
    bundle = toy_bundle(tmp_path / "explorer", made)
    (tmp_path / "toy.txt").write_text("secret")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"][name] = {"bytes": 1, "sha256": "0" * 64}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="is listed but is not a file"):
        toy_client(bundle, page, made)


def test_a_manifest_of_another_kind_is_refused(made, page, tmp_path):
    bundle = toy_bundle(tmp_path / "explorer", made)
    (bundle / "manifest.json").write_text('{"schema_version": 1}')
    with pytest.raises(DataError, match=r"manifest\.json is incomplete"):
        toy_client(bundle, page, made)
    (bundle / "manifest.json").write_text('{"schema_version": 2}')
    with pytest.raises(DataError, match="newer zatlas"):
        toy_client(bundle, page, made)


def test_a_page_that_was_not_built_is_said_to_be(made, bundle, tmp_path):
    with pytest.raises(DataError, match=r"(?s)page was not built in this installation.*hatch_build\.py"):
        page_files(tmp_path)
    with pytest.raises(DataError, match="page was not built"):
        toy_client(bundle, tmp_path, made)


# decoding


def test_decoded_latents_are_those_of_the_model(client, made):
    z = np.random.default_rng(1).normal(size=(11, 3))
    response = client.post("/api/decode", json={"model": "z3", "z": z.tolist()})
    assert response.headers["content-type"] == "application/octet-stream"
    frames = np.frombuffer(response.content, "<f4").reshape(11, 1, 16, 16)
    with torch.inference_mode():
        wanted = made.vae("z3").network.x_hat(torch.tensor(z, dtype=torch.float32))
    np.testing.assert_allclose(frames, wanted.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("", 400, "not-json"),
        ("{", 400, "not-json"),
        ('{"model": "z2", "z": [[NaN, 0]]}', 400, "not-json"),
        ('{"model": "z2", "z": [[Infinity, 0]]}', 400, "not-json"),
        ('{"model": "z2", "z": [[-Infinity, 0]]}', 400, "not-json"),
        ("[" * 100_000, 400, "not-json"),
        ('{"model": "z2", "z": [[' + "9" * 5000 + ", 0]]}", 400, "not-json"),
        ('{"model": "z2", "z": ' + "[" * 900 + "]" * 900 + "}", 422, "latent"),
        ("[]", 422, "fields"),
        ("null", 422, "fields"),
        ('{"model": "z2"}', 422, "fields"),
        ('{"model": "z2", "z": [[0, 0]], "path": "/etc/passwd"}', 422, "fields"),
        ('{"model": "z9", "z": [[0, 0]]}', 404, "no-such-model"),
        ('{"model": {}, "z": [[0, 0]]}', 404, "no-such-model"),
        ('{"model": "../z2", "z": [[0, 0]]}', 404, "no-such-model"),
        ('{"model": "z2", "z": []}', 422, "latents"),
        ('{"model": "z2", "z": "00"}', 422, "latents"),
        (json.dumps({"model": "z2", "z": [[0, 0]] * 65}), 422, "latents"),
        ('{"model": "z2", "z": [[0]]}', 422, "latent"),
        ('{"model": "z2", "z": [[0, 0, 0]]}', 422, "latent"),
        ('{"model": "z2", "z": [[0, 1e999]]}', 422, "latent"),
        ('{"model": "z2", "z": [[0, 1001]]}', 422, "latent"),
        ('{"model": "z2", "z": [[0, ' + "9" * 400 + "]]}", 422, "latent"),
        ('{"model": "z2", "z": [[0, true]]}', 422, "latent"),
        ('{"model": "z2", "z": [[0, "1"]]}', 422, "latent"),
        ('{"model": "z2", "z": [[0, null]]}', 422, "latent"),
    ],
    ids=range(26),
)
def test_what_cannot_be_decoded(client, body, status, code):
    response = client.post("/api/decode", content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, code_of(response)) == (status, code)
    assert "passwd" not in response.text


def test_only_json_is_read(client):
    body = '{"model": "z2", "z": [[0, 0]]}'
    assert client.post("/api/decode", content=body).status_code == 415
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json5"):
        assert client.post("/api/decode", content=body, headers={"Content-Type": kind}).status_code == 415
    good = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert client.post("/api/decode", content=body, headers=good).status_code == 200


def test_a_model_that_is_gone(made, bundle, page, tmp_path, caplog):
    moved = Study(shutil.copytree(made.folder, tmp_path / "moved"))
    shutil.rmtree(moved.folder / "models" / "z2")
    with toy_client(bundle, page, moved) as client, caplog.at_level(logging.CRITICAL, logger="zatlas"):
        response = client.post("/api/decode", json={"model": "z2", "z": [[0, 0]]})
    assert (response.status_code, code_of(response)) == (404, "model-gone")
    assert str(tmp_path) not in response.text


def test_a_full_queue_says_when_to_ask_again(bundle, page, made):
    worker, gate = Worker(most_waiting=2), threading.Event()
    with toy_client(bundle, page, made, worker=worker) as client:
        jobs = [worker._executor.submit(gate.wait, 10) for _ in range(3)]
        worker._jobs.update(jobs)
        response = client.post("/api/decode", json={"model": "z2", "z": [[0, 0]]})
        assert (response.status_code, code_of(response), response.headers["retry-after"]) == (503, "busy", "1")
        gate.set()
        worker._jobs.clear()
        assert client.post("/api/decode", json={"model": "z2", "z": [[0, 0]]}).status_code == 200


def test_a_slow_job_is_given_up(bundle, page, made):
    worker, gate = Worker(patience_s=0.2), threading.Event()
    with toy_client(bundle, page, made, worker=worker) as client:
        worker._executor.submit(gate.wait, 10)
        response = client.post("/api/decode", json={"model": "z2", "z": [[0, 0]]})
        assert (response.status_code, code_of(response)) == (503, "slow")
        gate.set()
    worker = Worker(patience_s=-1.0)
    with toy_client(bundle, page, made, worker=worker) as client:
        assert code_of(client.post("/api/decode", json={"model": "z2", "z": [[0, 0]]})) == "slow"


def test_a_model_that_was_replaced(made, bundle, page, tmp_path):
    moved = Study(shutil.copytree(made.folder, tmp_path / "moved"))
    shutil.rmtree(moved.folder / "models" / "z2")
    shutil.copytree(moved.folder / "models" / "z3", moved.folder / "models" / "z2")
    with toy_client(bundle, page, moved) as client:
        response = client.post("/api/decode", json={"model": "z2", "z": [[0, 0]]})
    assert (response.status_code, code_of(response)) == (404, "model-gone")


def test_a_page_whose_files_are_links_is_served(made, bundle, page, tmp_path):
    linked = tmp_path / "linked"
    (linked / "assets").mkdir(parents=True)
    for file in ("index.html", "assets/app.js", "assets/ort.wasm", "licenses.txt"):
        (linked / file).symlink_to(page / file)
    with toy_client(bundle, linked, made) as client:
        assert client.get("/assets/app.js").content == (page / "assets" / "app.js").read_bytes()


# images


def test_large_images_are_shrunk_by_whole_blocks():
    x = np.arange(3 * 50 * 70, dtype=np.float32).reshape(3, 50, 70)
    scaling = Scaling("minmax", 0.0, float(x.max()))
    found = shrunk(ArraySource(x), scaling, (0.0, 1.0), most_px=20)
    assert found.shape == (13, 18, 3)
    wanted = x[:, :4, 4:8].mean(axis=(1, 2)) / x.max() * 255
    np.testing.assert_allclose(found[0, 1], wanted, atol=0.51)
    with pytest.raises(Refused, match="longer than the server may work"):
        shrunk(ArraySource(x), scaling, (0.0, 1.0), most_px=20, is_over=lambda: True)


def test_two_channels_are_shown_as_their_mean():
    x = np.stack([np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32)])
    assert (shrunk(ArraySource(x), Scaling("minmax", 0.0, 1.0), (0.0, 1.0), most_px=4) == 128).all()


def test_rendered_images_are_kept_up_to_a_size(made, monkeypatch):
    images = Images(made, 24, (0.0, 1.0))
    images._open()
    monkeypatch.setattr("zatlas.explorer.server.work._CACHE_BYTES", 1000)
    for row in range(24):
        images.image(row, lambda: False)
    assert sum(len(png) for png, _ in images._cache.values()) <= 1000
    assert ("image", 23) in images._cache
    assert ("image", 0) not in images._cache


def test_whole_images_at_their_own_size(client, made):
    pixels = np.load(made.folder.parent / "toy_images.npz")["images"]
    scaling = made.vae("z2").scaling
    for row in (0, 7, 23):
        response = client.get(f"/api/image/{row}")
        assert response.headers["content-type"] == "image/png"
        shown = np.asarray(Image.open(io.BytesIO(response.content)))
        np.testing.assert_array_equal(shown, np.rint(np.clip(scaling.apply(pixels[row]), 0, 1) * 255))
    context = client.get("/api/context/3")
    assert context.headers["x-zatlas-box"] == "0,0,16,16"
    assert client.get("/api/context/3").content == context.content


def test_tiles_and_their_place_in_the_section(page, tmp_path):
    made = toy_study(tmp_path, tile=16)
    tiles = made.data().atlas_tiles()
    table = tiles.table()
    bundle = toy_bundle(tmp_path / "explorer", made, n=len(table))
    with toy_client(bundle, page, made) as client:
        for row in (0, len(table) - 1):
            shown = np.asarray(Image.open(io.BytesIO(client.get(f"/api/image/{row}").content)))
            np.testing.assert_array_equal(shown, np.rint(np.clip(tiles.take([row])[0, 0], 0, 1) * 255))
            response = client.get(f"/api/context/{row}")
            section = np.asarray(Image.open(io.BytesIO(response.content)))
            y, x, h, w = map(int, response.headers["x-zatlas-box"].split(","))
            assert section.shape == (40, 56)
            np.testing.assert_array_equal(section[y : y + h, x : x + w], shown)


@pytest.mark.parametrize("row", ["24", "-1", "1.0", "x", "%00", "٣", "1e1", "0x1", "99999999999999999999", ""])
def test_rows_that_do_not_exist(client, row):
    for route in ("image", "context"):
        assert client.get(f"/api/{route}/{row}").status_code == 404


def test_images_that_are_gone(bundle, page, made, caplog, tmp_path):
    with toy_client(bundle, page, with_images_at(made, "nowhere.npz")) as client:
        assert client.get("/data/manifest.json").json()["server"] == {"decode": True, "images": False}
        response = client.get("/api/image/0")
        assert (response.status_code, code_of(response)) == (404, "images-gone")
    np.savez(tmp_path / "others.npz", images=np.zeros((24, 16, 16), np.uint8))
    with toy_client(bundle, page, with_images_at(made, str(tmp_path / "others.npz"))) as client:
        assert code_of(client.get("/api/image/0")) == "images-gone"
    assert "these are not the images" in caplog.text


# who is let in


def test_the_token_in_the_address_becomes_a_cookie(bundle, page, made):
    with toy_client(bundle, page, made) as client:
        del client.headers["authorization"]
        assert client.get("/").status_code == 401
        response = client.get(f"/?t={TOKEN}")
        assert (response.status_code, response.headers["location"]) == (303, "./")
        cookie = response.headers["set-cookie"]
        assert cookie.startswith(f"zatlas-{PORT}=")
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "Path=/" in cookie
        assert client.get("/").status_code == 200
        assert client.get("/api/image/0").status_code == 200


def test_a_ticket_opens_once_and_soon(bundle, page, monkeypatch):
    access = AccessRules(token=TOKEN, port=PORT)
    ticket, late = access.ticket(), access.ticket()
    assert ticket != TOKEN
    assert access.takes(ticket)
    assert not access.takes(ticket)
    monkeypatch.setattr("zatlas.explorer.server.guard.time.monotonic", lambda: 1e12)
    assert not access.takes(late)


def test_a_link_from_another_site_goes_on_by_a_page_of_ours(client):
    response = client.get(f"/?t={TOKEN}", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})
    assert response.status_code == 200
    assert 'content="0;url=./"' in response.text
    assert TOKEN not in response.text
    assert client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_tokens_are_random_and_not_shown():
    several = [AccessRules(), AccessRules()]
    assert several[0].token != several[1].token
    assert len(several[0].token) >= 22, "128 bits in base64"
    assert several[0].token not in repr(several[0])


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.7", "example.org"])
def test_other_computers_are_let_in_only_on_purpose(bundle, page, host):
    served = serving.ServedStudy(bundle=bundle, page=page)
    with pytest.raises(UsageError, match=r"(?s)lets other computers reach the images.*--i-understand"):
        serving.serve(served, host=host)


def test_a_wildcard_needs_a_name(bundle, page):
    with pytest.raises(UsageError, match="needs the name by which others reach it"):
        serving.serve(serving.ServedStudy(bundle=bundle, page=page), host="0.0.0.0", is_understood=True)


@pytest.mark.parametrize(
    ("host", "allowed", "address"),
    [
        ("127.0.0.1", (), "http://127.0.0.1:80/"),
        ("::1", (), "http://[::1]:80/"),
        ("0.0.0.0", ("box.lab", "0.0.0.0"), "http://box.lab:80/"),
        ("192.168.0.7", ("192.168.0.7",), "http://192.168.0.7:80/"),
    ],
)
def test_the_address_that_is_printed_can_be_opened(host, allowed, address):
    assert serving._address(host, 80, allowed) == address


def test_a_port_that_is_taken(bundle, page):
    (first, *others) = serving._listeners("127.0.0.1", 0)
    try:
        first.listen()
        with pytest.raises(UsageError, match=r"(?s)cannot listen on 127.0.0.1 port.*--port"):
            serving.serve(serving.ServedStudy(bundle=bundle, page=page), port=first.getsockname()[1])
        with pytest.raises(UsageError, match="cannot listen"):
            serving.serve(serving.ServedStudy(bundle=bundle, page=page), port=99999)
    finally:
        for listener in [first, *others]:
            listener.close()
