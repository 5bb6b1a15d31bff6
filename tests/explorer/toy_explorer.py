"""A study with two tiny trained models, the explorer's files of it in small, and a page of a few lines.

As a program it serves them and prints the address and the token: `python toy_explorer.py BUNDLE PAGE STUDY SECONDS`.
"""

import dataclasses
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from starlette.testclient import TestClient

from zatlas import files
from zatlas.config import AtlasConfig, DataConfig, ModelConfig, SplitConfig, StudyConfig, TilesConfig, TrainConfig
from zatlas.explorer.server.guard import AccessRules
from zatlas.explorer.server.serving import ServedStudy, app, serve
from zatlas.progress import Talk
from zatlas.studies.run import analyse, compare, embed_model, study
from zatlas.studies.study import Study

TOKEN = "toy-token"
PORT = 8765
ADDRESS = f"http://127.0.0.1:{PORT}"


def toy_study(folder: Path, *, tile: int = 0, texture: str = "off") -> Study:
    """Models z2 and z3 of 24 blobs of 16 px (or of tiles of four 40 x 56 px sections), trained for one epoch.

    With local latents there is z2 alone.
    """
    dims, widths = ((2, 3), (4, 8)) if texture == "off" else ((2,), (4, 6, 8))
    rng = np.random.default_rng(0)
    shape = (4, 40, 56) if tile else (24, 16, 16)
    images = folder / "toy_images.npz"
    np.savez(images, images=rng.integers(0, 255, shape, dtype=np.uint8))
    config = StudyConfig(
        title="Toy",
        data=DataConfig(input=str(images)),
        split=SplitConfig(test_fraction=0.25),
        tiles=TilesConfig(tile=tile, sampler="by_pixel" if tile else "whole"),
        model=ModelConfig(latent_dim=dims, widths=widths, texture=texture),
        train=TrainConfig(epochs=1, batch_size=8, threads=1),
        atlas=AtlasConfig(points=3, samples=4, examples=4, clusters=2),
    )
    return study(config, folder / "toy-study", until="train")


def toy_finished(folder: Path, *, texture: str = "off") -> Study:
    """The same study with atlases and results, as far as the explorer needs them; without its report."""
    made = toy_study(folder, texture=texture)
    data = made.data()
    for name in made.names:
        embed_model(made, data, name, Talk())
        analyse(made, data, name, Talk())
    facts = {"command": [], "seed": 0, "environment": files.environment(), "fingerprint": data.fingerprint}
    compare(made, data, facts, Talk())
    return made


def toy_bundle(folder: Path, made: Study | None, *, n: int = 24) -> Path:
    """The files that a page needs least: names, latents, something called decoder.onnx, and the manifest."""
    folder.mkdir(parents=True)
    contents = {
        "names.json": json.dumps([f"image {row}" for row in range(n)]).encode(),
        "z2/mean.f32": np.arange(2 * n, dtype="<f4").tobytes(),
        "z3/mean.f32": np.arange(3 * n, dtype="<f4").tobytes(),
        "z3/decoder.onnx": bytes(range(256)) * 40,
    }
    for name, content in contents.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    listed = {name: {"bytes": len(b), "sha256": hashlib.sha256(b).hexdigest()} for name, b in contents.items()}
    manifest = {
        "schema_version": 1,
        "title": "Toy",
        "atlas_hash": "0" * 64,
        "privacy": {
            "level": "latents",
            "words": "It holds latents and no image.",
            "contains": ["latents of 24 images"],
        },
        "images": {"n": n, "side_px": 16, "channels": 1, "is_tiled": False, "display": {"low": 0.0, "high": 1.0}},
        "models": [{"name": "z2", "latent_dim": 2}, {"name": "z3", "latent_dim": 3}],
        "files": listed,
    }
    files.write_json(folder / "manifest.json", manifest)
    return folder


def toy_page(folder: Path) -> Path:
    """A built page of a few lines."""
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>zatlas explorer</title>\n'
        '<script type="module" crossorigin src="./assets/app.js"></script></head><body><p>Opening</p></body></html>'
    )
    (folder / "assets" / "app.js").write_text('const end = "</script><!-- not the end -->";\nconsole.log(end);\n')
    (folder / "assets" / "ort.wasm").write_bytes(b"\0asm\1\0\0\0")
    (folder / "widget.js").write_text("export default { render() {} };\n")
    (folder / "licenses.txt").write_text("Licences\n")
    return folder


def with_images_at(made: Study, path: str) -> Study:
    """The study as if its images lay elsewhere."""
    moved = Study(made.folder)
    moved.config = dataclasses.replace(moved.config, data=dataclasses.replace(moved.config.data, input=path))
    return moved


def toy_client(bundle: Path, page: Path, made: Study | None, **changes: object) -> TestClient:
    """A client of the server's application that holds the token; its lifespan has not begun."""
    access = AccessRules(token=TOKEN, port=PORT)
    made_app = app(ServedStudy(bundle=bundle, study=made, page=page, access=access, **changes))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return TestClient(
        made_app, base_url=ADDRESS, headers=headers, follow_redirects=False, raise_server_exceptions=False
    )


if __name__ == "__main__":
    served = ServedStudy(bundle=Path(sys.argv[1]), page=Path(sys.argv[2]), study=Study(sys.argv[3]))
    serve(
        served, patience_s=float(sys.argv[4]),
        on_ready=lambda address, access: print(json.dumps([address, access.token]), flush=True),
    )  # fmt: skip
    print("stopped", flush=True)
