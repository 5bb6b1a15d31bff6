"""A map from outside: one function of latents and a seed, and results, figures, report, bundle and paths have it."""

import io
import json
import re
import shutil
import sys
import tokenize
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.manifold import Isomap

import zatlas as za
from zatlas.atlas.atlas import Atlas
from zatlas.atlas.neighbours import trust
from zatlas.atlas.projection import Projection
from zatlas.atlas.projections import METHODS
from zatlas.errors import DataError, UsageError
from zatlas.explorer.bundle.columns import Files
from zatlas.explorer.bundle.model_part import model_part
from zatlas.report.figures.catalogue import catalogue
from zatlas.report.figures.writing import write_recipes
from zatlas.report.findings.latent import maps_between_sizes
from zatlas.report.method import limits_texts, method_blocks
from zatlas.report.sections import build_sections
from zatlas.results.analysis import analyse_model, compare_models
from zatlas.results.kinds import Comparison, ModelResults, StudyResults

GOLDEN = Path(__file__).parents[1] / "golden"
SOURCE = Path(za.__file__).parent
TURNED = "Random axes keep straight lines, and distances up to a factor."


def isomap(latents, seed):
    points = Isomap(n_neighbors=8).fit_transform(latents.astype(np.float64))
    facts = {"method": "Isomap of scikit-learn", "settings": {"neighbours": 8}}
    return Projection("isomap", "Isomap", points, facts)


def random_axes(latents, seed):
    axes = np.linalg.qr(np.random.default_rng(seed).standard_normal((latents.shape[1], 2)))[0]
    return Projection("random_axes", "Random axes", latents @ axes, {}, note=TURNED)


@dataclass
class Made:
    """What became of the maps of a study of two models."""

    atlases: list[Atlas]
    results: StudyResults
    figures: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    """The stored study of 0.1.0 with two maps more, analysed and drawn again and read back from disk."""
    folder = tmp_path_factory.mktemp("seam")
    shutil.copytree(GOLDEN / "study", folder / "study")
    shutil.copy(GOLDEN / "cell_data.h5", folder)
    study = za.Study(folder / "study")
    data, models, atlases = study.data(), [], []
    config = replace(study.config, atlas=replace(study.config.atlas, points=1, samples=4, examples=1))
    tiles = {part: data.fixed_tiles(part, most=12) for part in ("train", "validation", "test")}
    tiles["atlas"] = data.atlas_tiles()
    for name in study.names:
        atlas = study.atlas(name)
        for method in (isomap, random_axes):
            atlas.project(method, seed=3)
        atlas.save(folder / f"{name}.h5ad")
        atlases.append(Atlas.load(folder / f"{name}.h5ad"))
        network = study.vae(name).network
        models.append(analyse_model(network, data.scaling, atlases[-1], tiles, config, config.seed))
    stored, comparison = study.results(), compare_models(models, atlases)
    comparison.save(folder / "comparison")
    for model in models:
        model.save(folder / model.name)
    results = StudyResults(
        data=stored.data,
        models=[ModelResults.load(folder / model.name) for model in models],
        comparison=Comparison.load(folder / "comparison"),
        config=stored.config,
    )
    wanted = ("z4-map-cluster", "z4-map-labels", "z4-map-labels-isomap")
    drawn = [one for one in catalogue(results) if one.id in wanted]
    write_recipes(drawn, folder / "figures")
    return Made(atlases, results, folder / "figures")


def small_atlas(n=40, d=4):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"image": [f"{i:02d}" for i in range(n)], "split": "train", "age": rng.uniform(20, 80, n)})
    return Atlas(rng.standard_normal((n, d)), np.zeros((n, d)), table)


def test_a_map_comes_back_from_its_file_as_it_was(made):
    atlas = made.atlases[1]
    assert list(atlas.maps) == ["pca", "tsne", "isomap", "random_axes"]
    own, other = atlas.maps["isomap"], atlas.maps["random_axes"]
    assert (own.title, own.has_inverse, own.settings) == ("Isomap", False, {"neighbours": 8})
    assert (other.title, other.note, other.facts["seed"]) == ("Random axes", TURNED, 3)
    np.testing.assert_array_equal(own.points, atlas.projections["isomap"])
    assert (own.trustworthiness, own.facts["continuity"]) == trust(atlas.mean, own.points, k=15, seed=3)


def test_the_maps_that_0_1_0_stored_describe_themselves():
    atlas = Atlas.load(GOLDEN / "study" / "atlases" / "z4.h5ad")
    maps = atlas.maps
    assert {name: (one.title, one.has_inverse, one.columns) for name, one in maps.items()} == {
        "pca": ("PCA", True, ("pc1", "pc2")),
        "tsne": ("t-SNE", False, ("tsne1", "tsne2")),
    }
    model = za.Study(GOLDEN / "study").results().models[1]
    for one in model.maps:
        np.testing.assert_allclose(one.points, maps[one.name].points[:, :2], rtol=1e-6)
    assert model.maps[1].facts == {
        key: maps["tsne"].facts[key]
        for key in ("perplexity", "trustworthiness", "continuity", "n_neighbours", "initialisation", "method")
    }


def test_it_is_in_the_results(made):
    for model, atlas in zip(made.results.models, made.atlases, strict=True):
        assert [one.name for one in model.maps] == ["pca", "tsne", "isomap", "random_axes"]
        np.testing.assert_allclose(model.projections[["isomap1", "isomap2"]], atlas.projections["isomap"], rtol=1e-6)
        assert model.maps[2].facts == atlas.maps["isomap"].facts and model.maps[3].note == TURNED
        walks = {walk.name: walk for walk in model.walks}
        assert {"PC1", "t-SNE 2", "Isomap 1", "Isomap 2", "Random axes 1"} <= walks.keys()
        assert walks["Isomap 1"].end_row == atlas.projections["isomap"][:, 0].argmax()
        assert (walks["Isomap 1"].axis_kind, walks["Isomap 1"].note) == ("isomap", model.maps[2].path_note)


def test_it_is_in_the_comparison(made):
    similar, table = made.results.comparison.map_similarity, made.results.comparison.table
    assert [name for name in similar if name.endswith("_procrustes")] == [
        "tsne_procrustes", "isomap_procrustes", "random_axes_procrustes",
    ]  # fmt: skip
    assert similar["isomap_procrustes"].between(0, 1).all()
    trusted = [atlas.maps["isomap"].trustworthiness for atlas in made.atlases]
    assert table["isomap_trustworthiness"].tolist() == pytest.approx(trusted)
    assert table["trustworthiness"].tolist() == [a.maps["tsne"].trustworthiness for a in made.atlases]


def test_it_is_drawn_with_its_numbers_and_explained(made):
    drawn = pd.read_csv(made.figures / "z4-map-cluster.csv")
    assert {"pc1", "tsne1", "isomap1", "isomap2", "random_axes2"} <= set(drawn)
    svg = (made.figures / "z4-map-cluster.svg").read_text(encoding="utf-8")
    assert all(f"{title} of the latents" in svg for title in ("PCA", "t-SNE", "Isomap", "Random axes"))
    by_label = pd.read_csv(made.figures / "z4-map-labels-isomap.csv")
    assert {"isomap1", "stain"} <= set(by_label) and "tsne1" not in by_label
    assert (made.figures / "z4-map-labels.png").is_file()
    recipe = next(one for one in catalogue(made.results) if one.id == "z4-map-cluster")
    assert "Map 3: Isomap (neighbours 8), whose axes have no unit" in recipe.caption
    assert "Map 4: Random axes. " in recipe.caption


def test_it_is_in_the_words_of_the_report(made):
    found = maps_between_sizes(made.results)
    assert "Neighbours on the Isomap map" in found.text and "Isomap keeps neighbours, not distances" in found.text
    assert TURNED in found.text and "Random axes keeps" not in found.text
    assert set(found.numbers["isomap_trustworthiness"]) == {"z2", "z4"}
    assert limits_texts(made.results)[3].startswith("t-SNE, Isomap, Random axes and the first two principal")
    told = [block["text"] for block in method_blocks(made.results) if block["kind"] == "text"]
    assert "Isomap maps: Isomap of scikit-learn." in told
    page = str(build_sections(made.results, catalogue(made.results)))
    assert all(
        words in page for words in ("Isomap neighbours", "trustworthiness of Isomap", "agreement of Isomap maps")
    )


def test_it_is_in_the_bundle(made, tmp_path):
    part = model_part(Files(tmp_path), made.atlases[1], made.results.models[1])
    maps = {entry["name"]: entry for entry in json.loads(json.dumps(part["projections"]))}
    assert list(maps) == ["pca", "tsne", "isomap", "random_axes"]
    assert [entry["has_inverse"] for entry in maps.values()] == [True, False, False, False]
    assert (maps["isomap"]["title"], maps["isomap"]["axes"]) == ("Isomap", ["Isomap 1", "Isomap 2"])
    assert maps["isomap"]["note"].startswith("Isomap keeps neighbourhoods, not distances: trustworthiness ")
    assert maps["random_axes"]["note"].startswith(f"{TURNED} Random axes: trustworthiness ")
    note = maps["isomap"]["note"]
    assert note.endswith("It has no inverse: a place on it is decoded as a mean of the images around it.")
    stored = np.fromfile(tmp_path / maps["isomap"]["file"]["path"], "<f4").reshape(maps["isomap"]["file"]["shape"])
    np.testing.assert_array_equal(stored, made.atlases[1].projections["isomap"])
    assert {"tsne_kept", "isomap_kept", "random_axes_kept"} <= {column["name"] for column in part["columns"]}


@pytest.mark.parametrize("axis", ["ISOMAP2", "isomap 2", "Isomap_2"])
def test_paths_run_along_its_axes(made, axis):
    path = made.atlases[1].path(axis)
    assert (path.name, path.axis_kind) == ("Isomap 2", "isomap")
    assert path.note.startswith("Isomap has no inverse")


def test_the_axes_of_maps_are_named_only_where_they_are(made):
    with pytest.raises(UsageError, match="no axis 'ISOMAP1'") as error:
        small_atlas().path("ISOMAP1")
    assert error.value.hint.startswith("choose one of: PC1, PC2, TSNE1, TSNE2, z0")
    with pytest.raises(UsageError, match="no axis 'stain2'") as error:
        made.atlases[1].path("stain2")
    assert "TSNE2, ISOMAP1, ISOMAP2, RANDOM_AXES1, RANDOM_AXES2, z0" in error.value.hint
    with pytest.raises(UsageError, match="its number may be 1 to 2"):
        made.atlases[1].path("ISOMAP3")


def test_notebooks_draw_it(made):
    figure = za.plot.scatter(made.atlases[1], "isomap")
    assert figure.axes[0].get_xlabel() == "Isomap 1"
    assert za.plot.scatter(made.atlases[1]).axes[0].get_xlabel() == "t-SNE 1"
    assert za.plot.scatter(made.results.models[1].projections, "isomap").axes[0].get_xlabel() == "isomap 1"
    with pytest.raises(UsageError, match="no phate map yet") as error:
        za.plot.scatter(made.atlases[1], "phate")
    assert error.value.hint == "choose one of: pca, tsne, isomap, random_axes"


def test_a_map_with_an_inverse_has_no_note_and_one_axis_is_enough(tmp_path, made):
    atlas = made.atlases[1].select(np.arange(len(made.atlases[1])))
    atlas.add(Projection("line", "Line", atlas.mean[:, :1], has_inverse=True))
    assert atlas.path("LINE1").note == ""
    part = model_part(Files(tmp_path), atlas, made.results.models[1])
    line = next(entry for entry in part["projections"] if entry["name"] == "line")
    assert (line["title"], line["file"]["shape"], line["has_inverse"]) == ("Line", [len(atlas), 2], False)
    assert line["axes"] == ["Line 1", "Line 2"] and "no inverse" not in line["note"]


def test_maps_of_other_tools_are_measured_before_they_are_shown():
    atlas = small_atlas()
    atlas.projections |= {"phate": atlas.mean[:, :2], "../x": atlas.mean, "broken": np.full((40, 2), np.nan)}
    assert list(atlas.maps) == ["phate"]
    atlas.complete_maps()
    assert list(atlas.maps) == ["pca", "tsne", "phate"]
    assert atlas.info["phate"]["trustworthiness"] == trust(atlas.mean, atlas.mean[:, :2], k=15)[0]
    assert set(atlas.info["pca"]) == {"explained_ratio", "variance"}, "as 0.1.0 stored it"
    assert atlas.project("pca").trustworthiness == pytest.approx(1)


@pytest.mark.parametrize("name", ["", "my map", "../x", "z", "pc", "Z1", "pc_2", "label", "clusters", "é"])
def test_names_that_mean_something_else_are_refused(name):
    with pytest.raises(UsageError, match="cannot be called"):
        small_atlas().add(Projection(name, "Map", np.zeros((40, 2))))


def test_what_is_no_map_is_refused():
    atlas, none = small_atlas(), np.zeros((40, 0))
    for points in (np.zeros((39, 2)), np.zeros(40), np.full((40, 2), np.inf), none, np.array([["a"]] * 40)):
        with pytest.raises(DataError, match="expected finite numbers"):
            atlas.add(replace(Projection("mine", "Mine", np.zeros((40, 2))), points=points))
    with pytest.raises(UsageError, match="cannot be stored"):
        atlas.add(Projection("mine", "Mine", atlas.mean, {"model": object()}))
    with pytest.raises(UsageError, match="the function gave ndarray"):
        atlas.project(lambda latents, seed: latents)
    with pytest.raises(UsageError, match="no map 'phate'") as error:
        atlas.project("phate")
    assert error.value.hint == "choose one of: pca, tsne, umap, pacmap"
    assert not atlas.projections and not atlas.info


@pytest.mark.parametrize(("name", "title"), [("umap", "UMAP"), ("pacmap", "PaCMAP")])
def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch, name, title):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=f"{title} needs a package") as error:
        small_atlas().project(name)
    assert error.value.hint == f'pip install "zatlas[{name}]"'
    with pytest.raises(DataError, match=f"{title} needs at least 5 images, found 4"):
        METHODS[name](np.zeros((4, 3)), 0)
    with pytest.raises(UsageError, match="cannot work with 1 neighbours"):
        METHODS[name](np.zeros((9, 3)), 0, neighbours=1)


@pytest.mark.slow  # they compile themselves for half a minute
@pytest.mark.parametrize("name", ["umap", "pacmap"])
def test_maps_of_extras_part_what_is_apart_and_repeat_themselves(name):
    pytest.importorskip(name, exc_type=ImportError)
    rng = np.random.default_rng(1)
    which = np.repeat([0, 1, 2], 30)
    latents = 6 * np.eye(3, 5)[which] + rng.standard_normal((90, 5))
    table = pd.DataFrame({"image": [str(i) for i in range(90)]})
    atlas = Atlas(latents, np.zeros((90, 5)), table)
    first, second, other = (atlas.project(name, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.points, second.points)
    assert not np.array_equal(first.points, other.points)
    centres = np.stack([first.points[which == k].mean(axis=0) for k in range(3)])
    assert (np.linalg.norm(first.points[:, None] - centres, axis=2).argmin(axis=1) == which).all()
    assert first.trustworthiness > 0.85 and first.facts["initialisation"].startswith("first two principal components")
    assert atlas.path(f"{name.upper()}1").name == f"{first.title} 1"
    assert np.isfinite(METHODS[name](np.linspace(0, 1, 20)[:, None], 0).points).all(), "one dimension"


NEUTRAL = sorted(
    path for room in ("results", "report", "explorer") for path in (SOURCE / room).rglob("*.py")
    if path != SOURCE / "results" / "maps.py"
)  # fmt: skip


@pytest.mark.parametrize("path", NEUTRAL, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_whoever_shows_maps_knows_none_by_its_name(path):
    text = path.read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        assert not re.search(r"t-?sne|umap|pacmap", token.string, re.IGNORECASE), f"line {token.start[0]}: {token.line}"
