"""Figures: three files each, equal bytes for equal results, safe tables, honest marks."""

import csv
import hashlib

import numpy as np
import pandas as pd
import pytest
from example_results import example_results
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from zatlas.errors import UsageError
from zatlas.report.figures import latent_maps, pictures, plot, sheet, style
from zatlas.report.figures.catalogue import catalogue, data_recipes, safe_id
from zatlas.report.figures.style import theme
from zatlas.report.figures.writing import write_figures, write_numbers, write_recipes


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


def test_every_figure_has_three_files_and_nothing_else_is_there(made):
    wanted = {f"{entry.id}.{kind}" for entry in made.manifest for kind in ("png", "svg", "csv")}
    assert {file.name for file in made.manifest.folder.iterdir()} == wanted
    for entry in made.manifest:
        assert entry.title
        assert entry.caption.endswith(".")
        assert all((made.manifest.folder / name).stat().st_size > 0 for name in entry.files.values())
        with Image.open(made.manifest.folder / entry.files["png"]) as image:
            assert min(image.size) > 100
            assert round(image.info["dpi"][0]) == 150


def test_manifest_follows_the_order_of_the_assignments(made):
    order = ["data", "split", "training", "reconstructions", "latent-space", "maps", "walks", "samples", "models"]
    sections = [entry.section for entry in made.manifest]
    assert list(dict.fromkeys(sections)) == order
    assert sections == sorted(sections, key=order.index)


def test_equal_results_give_equal_bytes(tmp_path):
    digests = []
    for name in ("a", "b"):
        recipes = [
            r for r in catalogue(example_results(n_models=1, n_images=40, size=16)) if r.section in ("maps", "data")
        ]
        write_recipes(recipes, tmp_path / name)
        files = sorted((tmp_path / name).iterdir())
        digests.append([(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files])
    assert digests[0] == digests[1]


def test_progress_is_told_and_files_of_others_stay(tmp_path):
    recipes = data_recipes(example_results(n_models=1).data)[:2]
    (tmp_path / "mine.png").write_bytes(b"a picture of mine")
    seen = []
    write_recipes(recipes, tmp_path, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
    assert (tmp_path / "mine.png").exists()


def test_figures_of_an_earlier_run_are_removed_and_nothing_else(tmp_path, monkeypatch):
    results = example_results(n_models=1)
    monkeypatch.setattr("zatlas.report.figures.catalogue", lambda found: data_recipes(found.data)[:1])
    for name in ("z99-rates.png", "z99-rates.svg", "z99-rates.csv", "mine.png", "mine.csv"):
        (tmp_path / name).write_bytes(b"old")
    manifest = write_figures(results, tmp_path)
    made = {file for entry in manifest for file in entry.files.values()}
    assert {file.name for file in tmp_path.iterdir()} == made | {"mine.png", "mine.csv"}


def test_csv_has_the_numbers_and_runs_no_formula(made):
    with (made.manifest.folder / "data-contact-sheet.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    assert all(row[1].startswith("'=") for row in rows[1:])
    rates = pd.read_csv(made.manifest.folder / "z16-rates.csv")
    assert np.allclose(np.sort(rates["rate_nats"]), np.sort(made.results.models[1].rate_per_dim), rtol=1e-8)


def test_negative_numbers_stay_numbers_and_missing_ones_stay_empty(tmp_path):
    write_numbers(pd.DataFrame({"a": [-1.5, float("nan")], "b": ["-x", None]}), tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "a,b\n-1.5,'-x\n,\n"


def test_every_figure_has_numbers_and_an_alternative_text(made):
    for recipe in catalogue(made.results):
        assert len(recipe.numbers()) > 0, recipe.id
        assert recipe.alt


@pytest.mark.parametrize("options", [{"channels": 3}, {"with_groups": False, "with_labels": False}, {"is_tiled": True}])
def test_all_kinds_of_studies_can_be_drawn(options):
    for recipe in catalogue(example_results(n_models=1, n_images=40, size=16, points=2, **options)):
        with theme("dark"):
            assert isinstance(recipe.draw(), Figure)


def test_many_points_of_a_walk_break_into_rows():
    results = example_results(n_models=1, n_images=40, size=16, points=20)
    with theme():
        assert isinstance(pictures.walk(results.models[0].walks[0]), Figure)


def test_generated_images_are_marked_and_real_ones_are_not(made):
    model = made.results.models[0]
    for figure in (plot.walk(model.walks[0]), plot.traversals(model.traversals), plot.prior_samples(model.samples)):
        assert sheet.GENERATED_NOTE in texts(figure)
    assert sheet.GENERATED_NOTE not in texts(plot.galleries(model.galleries))
    frames = len(model.walks[0].t) + 2
    assert len(plot.walk(model.walks[0]).axes[0].patches) == frames


def test_residual_is_white_where_nothing_differs_and_symmetric():
    x = np.zeros((1, 4, 4))
    assert (pictures.residual_pixels(x, x) == 255).all()
    brighter = pictures.residual_pixels(x, x + 0.3)[0, 0]
    darker = pictures.residual_pixels(x, x - 0.3)[0, 0]
    assert brighter[0] > brighter[2]
    assert darker[2] > darker[0]


def test_images_keep_their_greys():
    image = np.linspace(0, 1, 16, dtype=np.float32).reshape(1, 4, 4)
    pixels = style.pixels_of(image)
    assert pixels.shape == (4, 4, 3)
    assert pixels[0, 0, 0] == 0
    assert pixels[-1, -1, 0] == 255
    assert (pixels[..., 0] == pixels[..., 2]).all()


def test_more_than_eight_classes_become_seven_and_other():
    values = [f"c{i}" for i in range(12) for _ in range(20 - i)]
    with theme():
        classes = style.categories(values)
    assert len(classes.names) == 8
    assert classes.names[-1] == "other (5 classes)"
    assert sum(classes.sizes) == len(values)
    assert len(set(classes.colours)) == 8


def test_held_out_points_are_ringed(made):
    with theme():
        figure = latent_maps.maps(made.results.models[0], "cluster")
    dots = figure.axes[0].collections[0]
    is_ringed = dots.get_edgecolors()[:, 3] > 0
    assert is_ringed.sum() == (made.results.models[0].projections["split"] == "test").sum()


def test_scatter_takes_a_table_and_says_what_is_missing():
    table = example_results(n_models=1).models[0].projections
    assert isinstance(plot.scatter(table, "tsne", color="stain"), Figure)
    with pytest.raises(UsageError, match="no column 'colour'"):
        plot.scatter(table, color="colour")
    with pytest.raises(UsageError, match="no isomap map yet"):
        plot.scatter(table, "isomap")
    with pytest.raises(UsageError, match="no umap map yet"):
        plot.scatter(table, "umap")


def test_names_are_shown_as_they_are():
    assert style.plain("a\x00b\nc") == "a?b?c"
    assert style.plain("x" * 50, 10) == "xxxxxxxxx…"
    assert style.plain(float("nan")) == "(none)"
    assert safe_id("../../t-SNE 1 <b>") == "t-sne-1-b"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.012345, "0.0123"), (23.97, "24.0"), (-2.5, "−2.50"), (0, "0"), (None, "–"), (float("nan"), "–")],
)
def test_numbers_read_well(value, text):
    assert style.number(value) == text


def test_figures_of_a_study_need_no_theme_and_change_no_setting():
    import matplotlib

    before = dict(matplotlib.rcParams)
    plot.training_curves(example_results(n_models=1).models[0])
    assert dict(matplotlib.rcParams) == before


def test_write_figures_takes_results_alone(made):
    assert len(write_figures.__annotations__) == 4
    assert [entry.id for entry in made.manifest] == [recipe.id for recipe in catalogue(made.results)]


def test_the_epoch_marked_is_the_one_whose_weights_are_kept():
    columns = ("validation_distortion_nats", "validation_rate_nats")
    history = pd.DataFrame({"epoch": [1, 2, 3], columns[0]: [100.0, 90.0, 80.0], columns[1]: [1.0, 5.0, 20.0]})
    assert plot.best_epoch(history) == 2
    assert plot.best_epoch(history, beta=0.1) == 3
    assert plot.best_epoch(history, beta=4.0) == 1
    assert plot.best_epoch(history.drop(columns=columns[0])) is None
    chosen = history.assign(validation_objective_nats=[np.nan, 9.0, 8.0])
    assert plot.best_epoch(chosen, beta=4.0) == 3, "what chose the epoch, where the history has it"


def test_a_start_that_no_epoch_beat_is_marked_and_said():
    model = example_results(n_models=1, n_images=30, size=16, points=2).models[0]

    def caption_and_texts():
        recipe = next(recipe for recipe in catalogue_of(model) if recipe.id == "z4-training")
        return recipe.caption, texts(plot.training_curves(model))

    model.kept_epoch = 7
    caption, shown = caption_and_texts()
    assert "marks epoch 7, whose weights" in caption and " best: 7 " in shown
    model.kept_epoch = 0
    caption, shown = caption_and_texts()
    assert "marks the start, whose weights are kept: no epoch was better" in caption and " best: the start " in shown
    figure = plot.training_curves(model)
    assert figure.axes[0].get_xlim()[0] < 0
    label = next(text for text in figure.findobj(Text) if text.get_text() == " best: the start ")
    assert label.get_bbox_patch().get_facecolor()[:3] == figure.get_facecolor()[:3], "the ground of the figure"
    model.kept_epoch = None
    assert f"marks epoch {plot.best_epoch(model.history):g}, whose" in caption_and_texts()[0]


def catalogue_of(model):
    results = example_results(n_models=1, n_images=30, size=16, points=2)
    results.models = [model]
    return catalogue(results)


def test_psnr_at_its_end_is_called_so():
    model = example_results(n_models=1, n_images=30, size=16, points=2).models[0]
    table = model.reconstructions.table
    assert not [text for text in texts(plot.reconstructions(model)) if "100 dB" in text]
    table.loc[table.index[0], "pca_psnr_db"] = 100.0
    assert [text for text in texts(plot.reconstructions(model)) if text.startswith("≥ 100 dB")]
    recipe = next(recipe for recipe in catalogue_of(model) if recipe.id == "z4-reconstructions")
    assert "PSNR ends at 100 dB" in recipe.caption


def test_pictures_drawn_from_z_alone_say_so():
    results = example_results(n_models=2, n_images=30, size=16, points=3)
    plain = {recipe.id: recipe for recipe in catalogue(results)}
    for model in results.models:
        model.n_local = 1536
    marked = {recipe.id: recipe for recipe in catalogue(results)}
    changed = {key for key, recipe in marked.items() if "drawn, not observed" in recipe.caption}
    wanted = {
        key for key, one in plain.items() if one.is_photograph and one.section in ("samples", "walks", "latent-space")
    }
    assert changed == wanted
    assert {plain[key].section for key in changed} == {"samples", "walks", "latent-space"}
    reconstructions = [one.caption for one in marked.values() if one.section == "reconstructions" and one.model]
    assert reconstructions and all("and 1536 local latents" in text for text in reconstructions)
    assert not any("drawn, not" in one.caption or "local latents" in one.caption for one in plain.values())


def test_strips_of_priors_begin_with_the_models_own_however_they_were_stored():
    drawn = example_results(n_models=1, n_images=30, size=16, points=2).models[0].samples
    order = ["own", *drawn.priors["name"][1:]]
    drawn.strips = {name: drawn.strips[name] for name in sorted(drawn.strips)}
    labels = [text for text in texts(plot.prior_strips(drawn)) if text in order]
    assert labels == [name for name in order if name in drawn.strips]
    assert labels[0] == "own" != sorted(labels)[0]
