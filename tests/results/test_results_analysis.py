"""A small model of images with known factors, analysed whole: what is in the results, and that they are right."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import PCA

from zatlas import compute
from zatlas.atlas.atlas import Atlas
from zatlas.atlas.density import fit_density, prior_mismatch
from zatlas.atlas.encode import encode
from zatlas.config import AtlasConfig, ModelConfig, StudyConfig, TilesConfig
from zatlas.errors import DataError, UsageError
from zatlas.images.collection import Collection
from zatlas.images.source import ArraySource
from zatlas.model.building import build
from zatlas.model.network import NetworkConfig
from zatlas.results.analysis import _Analysis, analyse_model, compare_models
from zatlas.results.kinds import ModelResults
from zatlas.tiles.loader import Tiles
from zatlas.tiles.samplers import evenly
from zatlas.tiles.transforms import Scaling
from zatlas.training.linear import fit_settled_pca
from zatlas.trust.evaluation import psnr
from zatlas.trust.gains import contrast, contrast_floor

SIDE, N = 16, 120
CONFIG = StudyConfig(
    model=ModelConfig(latent_dim=(4,), widths=(8, 16)),
    tiles=TilesConfig(size=SIDE),
    atlas=AtlasConfig(clusters=3, points=5, examples=4, samples=6, perplexity=10.0),
)


def phantom(n=N, seed=0, channels=1):
    """Blobs that differ in stain (grey of the ground), place and a class; tables with labels that tell."""
    rng = np.random.default_rng(seed)
    stain, x = rng.uniform(0.15, 0.75, n), rng.uniform(0.3, 0.7, n)
    at_y, at_x = np.mgrid[0:SIDE, 0:SIDE] / (SIDE - 1)
    blob = np.exp(-((at_y - 0.5) ** 2 + (at_x - x[:, None, None]) ** 2) / 0.03)
    pixels = np.clip(255 * (stain[:, None, None] + 0.25 * blob) + rng.normal(0, 2, (n, SIDE, SIDE)), 0, 255)
    table = pd.DataFrame(
        {
            "image": [f"{i:05d}" for i in range(n)],
            "group": [f"P{i // 4:02d}" for i in range(n)],
            "height": SIDE,
            "width": SIDE,
            "channels": channels,
            "dtype": "uint8",
            "stain": stain,
            "half": np.where(x > 0.5, "right", "left"),
            "index": np.arange(n),
            "file": [f"{i}.png" for i in range(n)],
            "noise": rng.standard_normal(n),
        }
    )
    sources = tuple(ArraySource(np.repeat(image[None], channels, axis=0)) for image in pixels.astype(np.uint8))
    return Collection(table=table, sources=sources, path=Path("phantom.npz"))


def parts_of(collection, scaling=None, parts=(80, 16, 24)):
    part = np.repeat(["train", "validation", "test"], parts)
    scaling = scaling or Scaling("minmax", 0.0, 255.0)
    made = {
        name: Tiles(collection.select(np.flatnonzero(part == name)), size=SIDE, sampler="grid", scaling=scaling)
        for name in ("train", "validation", "test")
    }
    return made | {"atlas": Tiles(collection, size=SIDE, sampler="grid", scaling=scaling)}, part


def trained(tiles, latent_dim=4, likelihood="bernoulli", steps=250, seed=0):
    """A small network after a few steps, enough to code stain and place."""
    shape = NetworkConfig(
        latent_dim=latent_dim,
        channels=tiles.channels,
        size=SIDE,
        widths=(8, 16),
        blocks=0,
        norm="none",
        decoder="transposed",
        likelihood=likelihood,
    )
    network = build(shape, seed=seed)
    x = torch.from_numpy(tiles.take(np.arange(len(tiles))))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        noise = torch.randn(len(x), latent_dim, generator=generator)
        params, posterior = network(x, noise)
        made = torch.sigmoid(params) if likelihood == "bernoulli" else params
        kl = 0.5 * (posterior.mean**2 + posterior.log_var.exp() - 1 - posterior.log_var).sum(1)
        loss = (((made - x) ** 2).sum(dim=(1, 2, 3)) * 20 + 0.3 * kl).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.log_noise_var.fill_(-5.0)
    return network


def atlas_of(network, tiles, part):
    atlas = encode(network, tiles["atlas"], table_extra=pd.DataFrame({"split": part}))
    atlas.pca()
    atlas.kmeans(3, seed=0)
    atlas.tsne(seed=0, perplexity=10.0)
    return atlas


@pytest.fixture(scope="module")
def world():
    tiles, part = parts_of(phantom())
    network = trained(tiles["train"])
    return network, tiles, part, atlas_of(network, tiles, part)


@pytest.fixture(scope="module")
def results(world):
    network, tiles, _, atlas = world
    return analyse_model(network, tiles["train"].scaling, atlas, tiles, CONFIG, 0)


@pytest.mark.parametrize("threads", [1, 3])
def test_pictures_and_numbers_have_the_same_bits_on_any_number_of_threads(world, results, monkeypatch, threads):
    network, tiles, _, atlas = world
    monkeypatch.setattr(compute, "cores", lambda: (threads, "as the test says"))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        again = analyse_model(network, tiles["train"].scaling, atlas, tiles, CONFIG, 0)
    finally:
        torch.set_num_threads(before)
    pd.testing.assert_frame_equal(again.metrics, results.metrics, check_exact=True)
    assert np.array_equal(again.reconstructions.reconstructions, results.reconstructions.reconstructions)
    for one, other in zip([*again.walks, *again.traversals], [*results.walks, *results.traversals], strict=True):
        assert np.array_equal(one.frames, other.frames)
    assert np.array_equal(again.samples.frames, results.samples.frames)


def test_rows_are_evenly_spaced():
    assert evenly(10, 4).tolist() == [0, 3, 6, 9] and evenly(3, 10).tolist() == [0, 1, 2]
    assert evenly(1, 5).tolist() == [0]


def test_results_are_complete_and_survive_the_disk(results, tmp_path):
    assert (results.name, results.latent_dim, results.likelihood, results.beta) == ("z4", 4, "bernoulli", 1.0)
    assert results.n_parameters > 1000 and np.isfinite(results.effective_beta)
    assert results.metrics.index.tolist() == ["train", "validation", "test"]
    assert np.isfinite(results.metrics.to_numpy()).all() and results.metrics["n"].tolist() == [80, 16, 24]
    assert results.invariance == {}  # whole images cannot be shifted
    assert len(results.rate_per_dim) == 4 and results.is_active.any() and 1 <= results.forecast_active_dims <= 4
    results.save(tmp_path / "z4")
    back = ModelResults.load(tmp_path / "z4")
    pd.testing.assert_frame_equal(back.projections, results.projections)
    np.testing.assert_array_equal(back.walks[0].frames, results.walks[0].frames)


def test_the_same_input_gives_the_same_bytes(world, results, tmp_path):
    network, tiles, _, atlas = world
    again = analyse_model(network, tiles["train"].scaling, atlas, tiles, CONFIG, 0)
    for name, one in (("a", results), ("b", again)):
        one.save(tmp_path / name)
    for file in ("results.json", "arrays.npz"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_every_image_is_on_the_grey_scale_0_to_1(results):
    shown = [results.reconstructions.originals, results.reconstructions.reconstructions, results.reconstructions.pca]
    shown += [images for gallery in results.galleries for images in gallery.images.values()]
    shown += [one for walk in results.walks for one in (walk.frames, walk.end_originals, walk.end_reconstructions)]
    shown += [one.frames for one in results.traversals]
    shown += [
        *results.samples.strips.values(),
        results.samples.frames,
        results.samples.prior_frames,
        results.samples.nearest_images,
    ]
    shown += [results.neighbours["query_images"], results.neighbours["neighbour_images"]]
    for images in shown:
        assert images.dtype == np.float32 and images.shape[-3:] == (1, SIDE, SIDE)
        assert images.min() >= 0 and images.max() <= 1 and images.std() > 0


def test_metrics_are_those_of_the_tiles(world, results):
    network, tiles, _, _ = world
    x = tiles["test"].take(np.arange(24))
    with torch.inference_mode():
        x_hat = network.x_hat(network.encode(torch.from_numpy(x)).mean).numpy()
    expected = psnr(x, x_hat)
    assert results.metrics.loc["test", "psnr_db"] == pytest.approx(expected.mean(), abs=1e-4)
    assert results.metrics.loc["test", "psnr_sd"] == pytest.approx(expected.std(), abs=1e-4)
    elbo = -results.metrics["distortion_nats"] - results.metrics["rate_nats"]
    np.testing.assert_allclose(results.metrics["elbo_nats"], elbo, rtol=1e-6)


def test_reconstructions_are_test_images_with_their_numbers(world, results):
    _, tiles, _, _ = world
    shown = results.reconstructions
    assert shown.rows.tolist() == [0, 7, 15, 23] and shown.images == ["00096", "00103", "00111", "00119"]
    np.testing.assert_allclose(shown.originals, tiles["test"].take(shown.rows))
    np.testing.assert_allclose(shown.table["psnr_db"], psnr(shown.originals, shown.reconstructions))
    np.testing.assert_allclose(shown.table["pca_psnr_db"], psnr(shown.originals, shown.pca))


def test_pca_beside_the_model_is_that_of_the_training_tiles(world, results):
    """Against scikit-learn; PCA of the test part or of all tiles would reconstruct the test part better."""
    _, tiles, _, _ = world
    train, test = (tiles[part].take(np.arange(len(tiles[part]))).reshape(-1, SIDE * SIDE) for part in ("train", "test"))
    linear = PCA(4).fit(train)
    expected = np.clip(linear.inverse_transform(linear.transform(test)), 0, 1).reshape(-1, 1, SIDE, SIDE)
    np.testing.assert_allclose(results.reconstructions.pca, expected[results.reconstructions.rows], atol=1e-4)
    found = psnr(test.reshape(expected.shape), expected.astype(np.float32))
    assert results.metrics.loc["test", "pca_psnr_db"] == pytest.approx(found.mean(), abs=1e-3)


def test_gains_over_pca_are_those_of_the_tiles(world, results):
    network, tiles, _, _ = world
    x = tiles["test"].take(np.arange(24))
    with torch.inference_mode():
        made = network.x_hat(network.encode(torch.from_numpy(x)).mean).numpy()
    row = results.metrics.loc["test"]
    assert row["gain_db"] == pytest.approx(row["psnr_db"] - row["pca_psnr_db"], abs=1e-9)
    assert row["pooled_psnr_db"] == pytest.approx(-10 * np.log10(((x - made) ** 2).mean()), abs=1e-3)
    units = tiles["test"].table()[results.pca_facts["unit"]]
    assert row["n_groups"] == units.nunique() > 1 and row["gain_low_db"] < row["gain_db"] < row["gain_high_db"]
    assert results.metrics["n_empty"].tolist() == [0, 0, 0]
    assert results.pca_facts["n_draws"] == len(tiles["train"]) and results.pca_facts["is_settled"]


def test_empty_tiles_are_counted_and_left_out(world, results):
    """Floor raised to the middle of the test tiles: half of them count as empty."""
    network, tiles, _, atlas = world
    seen = contrast(tiles["test"].take(np.arange(24)))
    analysis = _Analysis(network, atlas, tiles, ["train", "test"], CONFIG, 0, None)
    assert analysis.contrast_floor == pytest.approx(contrast_floor(contrast(tiles["train"].take(np.arange(80)))))
    analysis.contrast_floor = float(np.median(seen))
    pca = analysis._pca()
    with torch.inference_mode():
        found = analysis._metrics_of(tiles["test"], pca)
    assert found["n_empty"] == 12
    x = tiles["test"].take(np.flatnonzero(seen >= np.median(seen)))
    assert found["content_pca_psnr_db"] == pytest.approx(psnr(x, pca.reconstruct(x)).mean(), abs=1e-3)


def test_the_pca_of_the_study_stands_beside_the_model(world):
    """With the facts that it came with."""
    network, tiles, _, atlas = world
    train = tiles["train"]
    drawn = Tiles(train.images, size=SIDE, sampler="whole", scaling=train.scaling, augment=True)
    given = fit_settled_pca(drawn, tiles["test"], 4, seed=0, jitter=0.1, most_draws=240)
    analysis = _Analysis(network, atlas, tiles, ["train", "test"], CONFIG, 0, None, given)
    assert analysis._pca() is given.pca
    facts = analysis.pca_facts
    assert (facts["n_draws"], facts["validation_db"], facts["unit"]) == (given.n_draws, given.validation_db, "group")


def test_results_of_0_1_0_are_read(results, tmp_path):
    results.save(tmp_path / "z4")
    record = json.loads((tmp_path / "z4" / "results.json").read_text())
    del record["content"]["pca_facts"]
    (tmp_path / "z4" / "results.json").write_text(json.dumps(record))
    assert ModelResults.load(tmp_path / "z4").pca_facts == {}


def test_density_rates_and_active_dimensions_are_those_of_the_training_rows(world):
    """In an atlas whose other latents are far away; the last dimension does not vary among the training rows."""
    network, tiles, part, atlas = world
    mean, log_var, own = atlas.mean.copy(), atlas.log_var.copy(), part == "train"
    mean[own, 3] = 0.5
    mean[~own] = 100 + 50 * mean[~own]
    moved = Atlas(mean, log_var, atlas.table, projections=atlas.projections, info=atlas.info)
    found = analyse_model(network, tiles["train"].scaling, moved, tiles, CONFIG, 0)
    density = fit_density(mean[own], 0)
    np.testing.assert_array_equal(found.samples.z, density.sample(6, seed=0))
    assert found.samples.density["heldout_loglik"] == density.heldout_loglik
    assert found.samples.mismatch == prior_mismatch(mean[own], log_var[own], 0)
    assert not found.is_active[3]
    rates = 0.5 * (mean[own] ** 2 + np.exp(log_var[own]) - 1 - log_var[own])
    np.testing.assert_allclose(found.rate_per_dim, rates.mean(axis=0), rtol=1e-4)


def test_galleries_show_members_of_their_cluster(world, results):
    _, tiles, _, atlas = world
    assert sum(gallery.size for gallery in results.galleries) == N
    assert sum(gallery.share for gallery in results.galleries) == pytest.approx(1)
    for gallery in results.galleries:
        assert (atlas.cluster[gallery.central] == gallery.cluster).all() and len(gallery.central) <= 8
        np.testing.assert_allclose(gallery.images["random"], tiles["atlas"].take(gallery.random), atol=1e-6)


def test_clusters_are_described_by_labels_and_features(results):
    info = results.cluster_info
    assert info["k"] == 3 and info["verdict"] in ("clusters", "continuum") and info["text"]
    assert set(info["tables"]) == {"half"} and info["tables"]["half"].to_numpy().sum() == N
    assert list(info["numeric"].columns) == ["stain", "noise"]
    assert info["distinct"][0]["words"] == "brightness" and info["distinct"][0]["between_share"] > 0.5
    assert info["features"].loc[:, "brightness"].nunique() == 3


def test_walks_run_along_maps_dimensions_and_numeric_labels(world, results):
    _, _, _, atlas = world
    strongest = f"z{int(results.rate_per_dim.argmax())}"
    names = [walk.name for walk in results.walks]
    assert names == ["PC1", "PC2", "t-SNE 1", "t-SNE 2", strongest, "stain", "noise"]
    for walk in results.walks:
        assert len(walk.t) == 5 and len(walk.frames) == 5 and len(walk.features) == 7 == len(walk.nearest_distance)
        np.testing.assert_array_equal(walk.z[[0, -1]], atlas.mean[[walk.start_row, walk.end_row]])
        assert bool(walk.note) == (walk.axis_kind == "tsne")


def test_the_walk_along_stain_is_named_brightness(results):
    walk = next(walk for walk in results.walks if walk.name == "stain")
    # Sharpness may change more: that depends on how far this small network blurs, and so on the seed.
    brightness = next(change for change in walk.changes if change["words"] == "brightness")
    assert brightness["direction"] == "rises"
    assert brightness["ratio"] > 2 and brightness["monotone"] > 0.9


def test_traversals_go_by_falling_rate(results):
    rates = [one.rate_nats for one in results.traversals]
    assert rates == sorted(rates, reverse=True)
    assert {one.dim for one in results.traversals} == set(np.flatnonzero(results.is_active).tolist())


def test_samples_stand_beside_the_nearest_training_image(world, results):
    _, tiles, part, atlas = world
    drawn = results.samples
    assert (part[drawn.nearest_rows] == "train").all() and drawn.z.shape == (6, 4)
    distance = np.linalg.norm(atlas.mean[drawn.nearest_rows] - drawn.z, axis=1)
    np.testing.assert_allclose(drawn.nearest_distance, distance, rtol=1e-5)
    np.testing.assert_allclose(drawn.nearest_images, tiles["atlas"].take(drawn.nearest_rows), atol=1e-6)
    assert {"kl_nats", "auc"} <= set(drawn.mismatch) and drawn.density["n_components"] >= 1


def test_probes_read_the_factors_and_not_the_noise(results):
    probes = results.probes.set_index("label")
    assert set(probes.index) == {"stain", "half", "noise"}
    assert probes.loc["stain", "score_latents"] > 0.9 and probes.loc["stain", "metric"] == "R2"
    assert probes.loc["half", "metric"] == "balanced accuracy" and probes.loc["half", "score_latents"] > 0.7
    assert probes.loc["half", "score_histogram"] < probes.loc["half", "score_pca"]
    assert probes.loc["noise", "score_latents"] < 0.2
    assert probes["grouped"].all() and (probes["by"] == "group").all() and (probes["unit"] == "image").all()


def test_labels_of_images_are_read_from_the_mean_of_their_tiles(world):
    network, _, _, _ = world
    rng = np.random.default_rng(5)
    stain = rng.uniform(0.2, 0.8, 48)
    pixels = np.clip(255 * (stain[:, None, None] + rng.normal(0, 0.15, (48, 2 * SIDE, 2 * SIDE))), 0, 255)
    table = pd.DataFrame({"image": [f"{i:02d}" for i in range(48)], "group": "", "stain": stain})
    table = table.assign(height=2 * SIDE, width=2 * SIDE, channels=1, dtype="uint8")
    sources = tuple(ArraySource(image[None]) for image in pixels.astype(np.uint8))
    collection = Collection(table=table, sources=sources, path=Path("phantom.npz"))
    tiles = Tiles(collection, size=SIDE, sampler="grid", scaling=Scaling("minmax", 0.0, 255.0))
    atlas = encode(network, tiles)
    found = analyse_model(network, tiles.scaling, atlas, {"train": tiles, "atlas": tiles}, CONFIG, 0)
    probe = found.probes.set_index("label").loc["stain"]
    assert (probe["n"], probe["unit"], probe["grouped"], probe["by"]) == (48, "image", False, "")
    assert probe["score_latents"] > 0.9 and {"y_px", "x_px"} <= set(found.projections.columns)
    assert (found.invariance["n"], found.invariance["part"], len(found.invariance["shifts"])) == (128, "train", 3)


def test_neighbours_are_the_nearest_other_images(world, results):
    _, _, part, atlas = world
    found = results.neighbours
    assert (part[found["query_rows"]] == "test").all()
    for query, rows, distances in zip(found["query_rows"], found["neighbour_rows"], found["distances"], strict=True):
        all_distances = np.linalg.norm(atlas.mean - atlas.mean[query], axis=1)
        all_distances[query] = np.inf
        assert set(rows) == set(np.argsort(all_distances)[: len(rows)])
        np.testing.assert_allclose(distances, np.sort(all_distances)[: len(rows)], rtol=1e-4)


def test_projections_are_one_row_per_image(world, results):
    _, _, part, atlas = world
    table = results.projections
    assert table["split"].tolist() == part.tolist() and len(table) == N
    np.testing.assert_array_equal(table[["pc1", "pc2"]], atlas.projections["pca"][:, :2])
    np.testing.assert_array_equal(table["cluster"].astype(int), atlas.cluster)
    assert {"stain", "half", "psnr_db", "rate_nats", "tsne1"} <= set(table.columns)
    assert results.projection_info["tsne_perplexity"] == 10 and results.projection_info["trustworthiness"] > 0.5
    assert "Barnes-Hut" in results.projection_info["tsne_method"]


def test_progress_reaches_its_end(world):
    network, tiles, _, atlas = world
    seen = []
    some = {name: tiles[name] for name in ("train", "atlas")}
    found = analyse_model(network, tiles["train"].scaling, atlas, some, CONFIG, 0, lambda *step: seen.append(step))
    assert [done for done, _ in seen] == list(range(1, seen[-1][1] + 1)) and seen[-1][0] == seen[-1][1]
    assert found.metrics.index.tolist() == ["train"] and len(found.reconstructions.rows) == 4


def test_gaussian_model_on_standardised_greys(world):
    collection = phantom(seed=1)
    tiles, part = parts_of(collection, Scaling("standardise", 130.0, 45.0))
    network = trained(tiles["train"], likelihood="gaussian", steps=60).train()
    config = replace(CONFIG, model=replace(CONFIG.model, likelihood="gaussian"))
    found = analyse_model(network, tiles["train"].scaling, atlas_of(network, tiles, part), tiles, config, 0)
    shown = found.reconstructions.originals
    np.testing.assert_allclose(
        shown, tiles["test"].scaling.invert(tiles["test"].take(found.reconstructions.rows)) / 255, atol=1e-5
    )
    assert found.effective_beta > 0 and network.training


def test_colour_images_and_a_single_latent_dimension(tmp_path):
    tiles, part = parts_of(phantom(60, channels=3), parts=(40, 8, 12))
    network = trained(tiles["train"], latent_dim=1, steps=20)
    atlas = encode(network, tiles["atlas"], table_extra=pd.DataFrame({"split": part}))
    found = analyse_model(network, tiles["train"].scaling, atlas, tiles, CONFIG, 0)
    assert [walk.name for walk in found.walks][:4] == ["PC1", "t-SNE 1", "t-SNE 2", "z0"]
    assert found.walks[0].frames.shape == (5, 3, SIDE, SIDE) and found.reconstructions.pca.shape[1] == 3
    assert (found.projections["pc2"] == 0).all() and np.isfinite(found.metrics.to_numpy()).all()
    found.save(tmp_path / "z1")


def test_what_does_not_belong_together_is_refused(world):
    network, tiles, _, atlas = world
    scaling = tiles["train"].scaling
    with pytest.raises(UsageError, match="no tiles of atlas"):
        analyse_model(network, scaling, atlas, {"train": tiles["train"]}, CONFIG, 0)
    with pytest.raises(UsageError, match="120 rows, its tiles are 80"):
        analyse_model(network, scaling, atlas, tiles | {"atlas": tiles["train"]}, CONFIG, 0)
    with pytest.raises(UsageError, match="another grey scale"):
        analyse_model(network, Scaling("minmax", 0.0, 100.0), atlas, tiles, CONFIG, 0)


def test_models_are_compared_pair_by_pair(world, results, tmp_path):
    _, tiles, part, atlas = world
    other = trained(tiles["train"], latent_dim=2, steps=60, seed=1)
    atlases = [atlas, atlas_of(other, tiles, part)]
    second = analyse_model(other, tiles["train"].scaling, atlases[1], tiles, CONFIG, 0)
    found = compare_models([results, second], atlases)
    assert found.table["name"].tolist() == ["z4", "z2"] and found.table["k"].tolist() == [3, 3]
    assert found.table["test_psnr_db"].tolist() == [m.metrics.loc["test", "psnr_db"] for m in (results, second)]
    match = found.cluster_matches[0]
    assert (match["a"], match["b"]) == ("z4", "z2") and set(match["mapping"]) <= {0, 1, 2}
    overlap = found.neighbour_overlap.to_numpy()
    np.testing.assert_allclose(overlap, overlap.T)
    assert (np.diag(overlap) == 1).all() and 0 < overlap[0, 1] < 1
    row = found.map_similarity.iloc[0]
    assert row["overlap_images"] == N
    assert 0 <= row["tsne_procrustes"] <= 1 and row["distance_correlation"] > 0.3
    found.save(tmp_path / "comparison")
    assert len(compare_models([results], [atlas]).map_similarity) == 0
    with pytest.raises(DataError, match="different images"):
        compare_models([results, second], [atlas, atlas.select(np.arange(50))])
