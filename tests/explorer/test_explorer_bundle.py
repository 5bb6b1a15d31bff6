"""The bundle of a whole study: what is inside, that it is the same each time, and that nothing travels by accident."""

import dataclasses
import hashlib
import io
import json
import shutil
import socket
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from zatlas import files, phantom
from zatlas.config import AtlasConfig, DataConfig, ModelConfig, StudyConfig, TilesConfig, TrainConfig
from zatlas.errors import DataError, FileAccessError, UsageError
from zatlas.explorer.bundle import writing as bundle_module
from zatlas.explorer.bundle.model_part import model_part
from zatlas.explorer.bundle.sheets import Layout
from zatlas.explorer.bundle.writing import bundle_of, check_bundle, write_bundle
from zatlas.progress import Talk
from zatlas.studies.run import analyse, compare, embed_model, study
from zatlas.studies.study import Study

N = 60


def finished(folder: Path) -> Study:
    """A study without its report, which takes longer than all the rest."""
    images, labels = phantom.radiographs(folder / "x_images.npz", images=N, size=32, seed=1)
    config = StudyConfig(
        data=DataConfig(input=str(images), labels=str(labels), group="patient"),
        tiles=TilesConfig(size=32),
        model=ModelConfig(latent_dim=(2, 3), widths=(4, 8), likelihood="bernoulli"),
        train=TrainConfig(epochs=1, batch_size=32, threads=1),
        atlas=AtlasConfig(points=3, samples=4, examples=4, clusters=3),
    )
    command = ["/usr/local/bin/zatlas", "study", str(images), f"--labels={labels}", "-o", str(folder / "xray")]
    made = study(config, folder / "xray", until="train", command=command)
    data = made.data()
    for name in made.names:
        embed_model(made, data, name, Talk())
        analyse(made, data, name, Talk())
    facts = {"command": command, "seed": 0, "environment": files.environment(), "fingerprint": data.fingerprint}
    compare(made, data, facts, Talk())
    return made


@pytest.fixture(scope="module")
def xray(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("bundle-study"))


@pytest.fixture(scope="module")
def whole(xray, tmp_path_factory):
    """The bundle with everything inside, and its manifest."""
    folder = tmp_path_factory.mktemp("bundle") / "explorer"
    return folder, write_bundle(xray, folder, with_originals=True)


def array(folder: Path, file: dict) -> np.ndarray:
    dtype = {"f32": "<f4", "u8": "|u1", "u16": "<u2", "u32": "<u4"}[file["dtype"]]
    return np.fromfile(folder / file["path"], dtype).reshape(file["shape"])


def files_of(value) -> list[dict]:
    """Every file entry anywhere in a manifest."""
    if isinstance(value, dict):
        own = [value] if {"path", "dtype", "shape"} <= set(value) else []
        return own + [file for item in value.values() for file in files_of(item)]
    return [file for item in value for file in files_of(item)] if isinstance(value, list) else []


def test_manifest_lists_every_file_and_nothing_else(whole):
    folder, manifest = whole
    here = {f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file()} - {"manifest.json"}
    assert set(manifest["files"]) == here == {file["path"] for file in files_of(manifest)}
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    for file in files_of(manifest):
        content = (folder / file["path"]).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        width = {"f32": 4, "u8": 1, "u16": 2, "u32": 4}.get(file["dtype"])
        assert width is None or file["bytes"] == width * np.prod(file["shape"])
    assert check_bundle(folder) == []


def test_columns_are_those_of_the_atlas(whole, xray):
    folder, manifest = whole
    atlas = xray.atlas("z3")
    assert manifest["images"]["n"] == N
    assert json.loads((folder / "names.json").read_text()) == list(atlas.to_anndata().obs_names)
    shared = {column["name"]: column for column in manifest["columns"]}
    assert {"image", "group", "split", "y_px", "x_px", "size_px", "exposure", "patient"} <= set(shared)
    group = [shared["group"]["categories"][code] for code in array(folder, shared["group"]["file"])]
    assert group == atlas.table["group"].tolist()
    assert np.array_equal(array(folder, shared["exposure"]["file"]), atlas.table["exposure"].to_numpy(np.float32))
    model = manifest["models"][1]
    assert np.array_equal(array(folder, model["mean"]), atlas.mean)
    assert np.array_equal(array(folder, model["log_var"]), atlas.log_var)
    own = {column["name"]: column for column in model["columns"]}
    cluster = [int(own["cluster"]["categories"][code]) for code in array(folder, own["cluster"]["file"])]
    assert cluster == atlas.cluster.tolist()
    assert np.array_equal(array(folder, own["psnr_db"]["file"]), atlas.table["psnr_db"].to_numpy())
    maps = {projection["name"]: projection for projection in model["projections"]}
    assert np.array_equal(array(folder, maps["tsne"]["file"]), atlas.projections["tsne"])
    assert [maps["pca"]["has_inverse"], maps["tsne"]["has_inverse"]] == [True, False]
    pca = model["pca"]
    scores = (atlas.mean - np.array(pca["mean"])) @ np.array(pca["components"]).T
    assert np.allclose(scores, array(folder, maps["pca"]["file"]), atol=1e-5)
    assert np.allclose(scores.std(axis=0, ddof=1), pca["sd"])


def test_neighbours_are_nearest_and_never_themselves(whole, xray):
    folder, manifest = whole
    for name, model in zip(xray.names, manifest["models"], strict=True):
        mean = xray.atlas(name).mean.astype(np.float64)
        rows, distances = (array(folder, model["knn"][key]) for key in ("rows", "distances"))
        far = np.linalg.norm(mean[:, None] - mean[None], axis=2)
        np.fill_diagonal(far, np.inf)
        assert rows.shape == (N, 10)
        assert np.allclose(distances, np.sort(far, axis=1)[:, :10], rtol=1e-5)
        assert np.allclose(np.take_along_axis(far, rows.astype(int), axis=1), distances, rtol=1e-5)
        own = {column["name"]: array(folder, column["file"]) for column in model["columns"]}
        assert np.allclose(own["neighbour_distance"], distances[:, 4])
        assert ((own["tsne_kept"] >= 0) & (own["tsne_kept"] <= 1)).all()


def test_pictures_lie_where_the_manifest_says(whole, xray):
    folder, manifest = whole
    data = xray.data()
    shown = np.rint(data.atlas_tiles().take(np.arange(N)).clip(0, 1) * 255).astype(np.uint8)
    originals = manifest["originals"]
    layout = Layout(originals["size_px"], originals["columns"], originals["per_sheet"])
    assert (layout.size_px, originals["lossless"]) == (32, True)
    sheets = [np.asarray(Image.open(folder / file["path"])) for file in originals["files"]]
    assert [list(sheet.shape) for sheet in sheets] == [file["shape"] for file in originals["files"]]
    for row in range(N):
        sheet, top, left = layout.place(row)
        assert np.array_equal(sheets[sheet][top : top + 32, left : left + 32, 0], shown[row, 0]), row
    small = manifest["thumbnails"]
    assert (small["size_px"], small["columns"], small["per_sheet"], small["lossless"]) == (32, 128, 128 * 128, False)


def test_networks_compute_what_torch_computes(whole, xray):
    folder, manifest = whole
    for name, model in zip(xray.names, manifest["models"], strict=True):
        vae, atlas = xray.vae(name), xray.atlas(name)
        z = atlas.mean[:7]
        decoder = onnxruntime.InferenceSession(folder / model["decoder"]["file"]["path"])
        (image,) = decoder.run(["image"], {"z": z})
        with torch.inference_mode():
            expected = vae.network.x_hat(torch.from_numpy(z)).numpy()
        assert np.abs(image - expected).max() < 1e-4
        encoder = onnxruntime.InferenceSession(folder / model["encoder"]["file"]["path"])
        mean, log_var = encoder.run(["mean", "log_var"], {"image": xray.data().atlas_tiles().take(np.arange(5))})
        assert np.abs(mean - atlas.mean[:5]).max() < 1e-4
        assert np.abs(log_var - atlas.log_var[:5]).max() < 1e-4
        assert model["decoder"]["n_checked"] == 64
        assert 0 <= model["decoder"]["max_abs_difference"] < 1e-4
        assert model["decoder"]["live"] == "live"


def test_what_is_said_of_the_models(whole, xray):
    _, manifest = whole
    results = xray.results()
    for model, known in zip(manifest["models"], results.models, strict=True):
        assert [d["dim"] for d in model["dimensions"]] == list(range(known.latent_dim))
        for dimension in model["dimensions"]:
            assert sum(dimension["histogram"]["counts"]) == N
            assert len(dimension["histogram"]["counts"]) == 40
            assert bool(dimension["reason"]) == (not dimension["is_active"])
            assert all(abs(entry["r"]) <= 1 for entry in dimension["correlations"])
        assert model["clusters"]["verdict"] == known.cluster_info["verdict"] in ("clusters", "continuum")
        assert model["prior"] == known.prior == "standard"
        items = model["clusters"]["items"]
        assert sum(item["size"] for item in items) == N
        counts = [{c["column"]: c["values"] for c in item["counts"]}["split"] for item in items]
        assert sum(value["n"] for values in counts for value in values) == N
        assert sum(value["expected"] for value in counts[0]) == pytest.approx(items[0]["size"], abs=0.01)
        assert [walk["name"] for walk in model["walks"]] == [walk.name for walk in known.walks]
        assert model["metrics"]["test"]["psnr_db"] == pytest.approx(known.metrics.loc["test", "psnr_db"])
        assert len(model["history"]["epoch"]) == 1
        assert len(model["support"]["quantiles"]) == 101
        assert model["support"]["within"] == pytest.approx(model["support"]["quantiles"][95])
        assert model["support"]["within"] <= model["support"]["near"]
    assert len(manifest["comparison"]["table"]) == 2
    assert manifest["run"]["is_synthetic"] is True
    assert manifest["run"]["split"]["counts"] == results.data.split_counts


def test_the_same_study_gives_the_same_bytes(whole, xray, tmp_path):
    folder, manifest = whole
    again = write_bundle(xray, tmp_path / "again", with_originals=True)
    assert again == manifest
    for path in (*manifest["files"], "manifest.json"):
        assert (tmp_path / "again" / path).read_bytes() == (folder / path).read_bytes(), path


def test_nothing_in_it_names_the_machine(whole, xray):
    folder, manifest = whole
    everything = b"".join(f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file() and f.suffix != ".webp")
    for secret in (str(xray.folder.parent), str(Path.home()) + "/", str(Path(bundle_module.__file__).parents[2])):
        assert secret.encode() not in everything, secret
    assert socket.gethostname() not in (folder / "manifest.json").read_text()
    command = manifest["run"]["command"]
    assert command == ["zatlas", "study", "x_images.npz", "--labels=x_labels.csv", "-o", "xray"]
    assert manifest["run"]["config"]["data"]["input"] == "x_images.npz"


def test_without_thumbnails_no_picture_travels(xray, tmp_path):
    folder = tmp_path / "explorer"
    manifest = write_bundle(xray, folder, models=["z2"], with_thumbnails=False, with_encoder=False)
    assert [f for f in folder.rglob("*") if f.suffix in (".webp", ".png", ".jpg")] == []
    assert manifest["thumbnails"] is manifest["originals"] is None
    assert manifest["privacy"]["level"] == "latents"
    assert [model["name"] for model in manifest["models"]] == ["z2"]
    assert manifest["models"][0]["encoder"] is None
    assert manifest["comparison"] is None
    assert list(manifest["run"]["training"]) == ["z2"]
    assert not [line for line in manifest["privacy"]["contains"] if "thumbnail" in line or "original" in line]


def test_privacy_says_what_is_inside(whole):
    _, manifest = whole
    assert manifest["privacy"]["level"] == "originals"
    assert "originals of 60 images at 32 px" in manifest["privacy"]["contains"]
    assert any("patient" in line for line in manifest["privacy"]["contains"])


def test_a_study_whose_images_are_gone_gives_a_bundle_without_pictures(xray, tmp_path):
    moved = Study(shutil.copytree(xray.folder, tmp_path / "far" / "away" / "xray"))
    said: list[str] = []
    manifest = write_bundle(moved, tmp_path / "explorer", models=["z2"], with_encoder=False, talk=Talk(say=said.append))
    assert manifest["thumbnails"] is None
    assert manifest["images"]["display"] == {"low": 0.0, "high": 1.0}
    assert "were not at hand" in manifest["privacy"]["words"]
    assert any("shows no pictures, because" in sentence for sentence in said)


def test_bundle_is_built_once_and_again_when_the_atlas_changes(xray, tmp_path, monkeypatch):
    study_here = Study(shutil.copytree(xray.folder, tmp_path / "copy"))
    few = {"models": ["z2"], "with_encoder": False}
    folder = bundle_of(study_here, **few)
    assert folder == study_here.folder / "explorer"
    before = (folder / "manifest.json").stat().st_mtime_ns
    assert bundle_of(study_here, **few) == folder
    assert (folder / "manifest.json").stat().st_mtime_ns == before
    atlas = study_here.atlas("z2")
    atlas.mean[0] += 1
    atlas.save(study_here.folder / "atlases" / "z2.h5ad")
    old = files.read_json(folder / "manifest.json")["atlas_hash"]
    assert files.read_json(bundle_of(study_here, **few) / "manifest.json")["atlas_hash"] != old
    (folder / "names.json").unlink()
    assert check_bundle(bundle_of(study_here, **few)) == []
    monkeypatch.setattr(files, "is_writable", lambda folder: False)
    shutil.rmtree(folder)
    said: list[str] = []
    spare = bundle_of(study_here, **few, talk=Talk(say=said.append))
    assert not spare.is_relative_to(study_here.folder)
    assert check_bundle(spare) == []
    assert not folder.exists()
    assert any("read-only" in sentence for sentence in said)


def test_check_finds_changed_missing_and_foreign_files(whole, tmp_path):
    folder = shutil.copytree(whole[0], tmp_path / "explorer")
    (folder / "names.json").write_text("[]")
    (folder / "z2" / "mean.f32").unlink()
    (folder / "patient.dcm").write_bytes(b"x")
    assert sorted(check_bundle(folder)) == [
        "names.json was changed after it was written", "patient.dcm is not listed", "z2/mean.f32 is missing",
    ]  # fmt: skip
    manifest = files.read_json(folder / "manifest.json")
    files.write_json(folder / "manifest.json", {**manifest, "files": {"../secret": {"bytes": 1, "sha256": ""}}})
    assert "../secret lies outside the bundle" in check_bundle(folder)
    with pytest.raises(FileAccessError):
        check_bundle(tmp_path / "nothing")


def test_wrong_requests_are_refused_in_words(xray, tmp_path):
    with pytest.raises(UsageError, match="no model z99"):
        write_bundle(xray, tmp_path / "explorer", models=["z99"])
    unfinished = Study(shutil.copytree(xray.folder, tmp_path / "half"))
    shutil.rmtree(unfinished.folder / "results")
    with pytest.raises(DataError, match="not finished"):
        write_bundle(unfinished, tmp_path / "explorer")
    assert not (tmp_path / "explorer").exists()


@pytest.mark.parametrize("n", [1, 2, 3, 9])
def test_a_few_images_are_enough(xray, tmp_path, n):
    atlas = xray.atlas("z3").select(np.arange(n))
    del atlas.projections["tsne"]
    files = bundle_module.Files(tmp_path)
    known = dataclasses.replace(xray.results().models[1], galleries=[])
    part = json.loads(json.dumps(model_part(files, atlas, known), allow_nan=False))
    assert part["knn"]["k"] == n - 1
    assert [p["name"] for p in part["projections"]] == ["pca"]
    assert len(part["projections"][0]["axes"]) == part["projections"][0]["file"]["shape"][1] >= 2
    assert sum(part["dimensions"][0]["histogram"]["counts"]) == n


def test_umap_made_by_another_tool_is_taken_along(xray, tmp_path):
    atlas = xray.atlas("z2")
    atlas.projections["umap"] = atlas.projections["tsne"][:, ::-1]
    part = model_part(bundle_module.Files(tmp_path), atlas, xray.results().models[0])
    assert [p["title"] for p in part["projections"]] == ["PCA", "t-SNE", "UMAP"]
    kept = {column["name"]: array(tmp_path, column["file"]) for column in part["columns"]}
    assert np.array_equal(kept["umap_kept"], kept["tsne_kept"]), "the same map with its axes exchanged"


def test_sheets_open_anywhere(whole):
    folder, manifest = whole
    for file in (*manifest["thumbnails"]["files"], *manifest["originals"]["files"]):
        picture = Image.open(io.BytesIO((folder / file["path"]).read_bytes()))
        assert picture.format == "WEBP"
        assert max(picture.size) <= 4096
