"""The page: complete, self-contained, escaped, small enough, equal for equal results."""

import base64
import hashlib
import re

import pytest
from example_results import example_results
from hostile_words import HOSTILE

from zatlas.errors import WriteError
from zatlas.report import page
from zatlas.report.figures.catalogue import catalogue
from zatlas.report.findings.writing import findings
from zatlas.report.method import _without_folders, method_blocks
from zatlas.report.sections import _cluster_tables, build_sections


def test_order_of_sections(page):
    ids = [attributes["id"] for attributes in page.all("section")]
    assert ids == [
        "summary", "data", "split", "training", "reconstructions", "latent-space", "maps", "walks", "samples",
        "models", "findings", "method", "limits",
    ]  # fmt: skip
    targets = {attributes.get("id") for _, attributes in page.elements}
    links = [attributes["href"] for attributes in page.all("a") if (attributes["href"] or "").startswith("#")]
    assert links
    assert all(link[1:] in targets for link in links)


def test_ids_are_unique(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_figure_is_there_with_alternative_text_and_links(made, page):
    shown = [attributes["id"] for attributes in page.all("figure")]
    assert shown == [f"fig-{entry.id}" for entry in made.manifest]
    assert all(attributes.get("alt") for attributes in page.all("img"))
    links = {attributes["href"] for attributes in page.all("a")}
    for entry in made.manifest:
        for name in entry.files.values():
            assert f"figures/{name}" in links
            assert (made.page.parent / "figures" / name).is_file()


def test_findings_are_on_the_page(made, page):
    for finding in findings(made.results):
        for paragraph in finding.text.split("\n"):
            assert paragraph in page.text


def test_hostile_names_are_text(made, page):
    assert HOSTILE in page.text
    assert not any("onerror" in attributes for _, attributes in page.elements)
    source = made.page.read_text(encoding="utf-8")
    assert "<img src=x" not in source
    assert source.count("<script") == 1
    assert source.count("</script") == 1
    assert "\x00" not in source


def test_nothing_is_loaded_from_elsewhere(made, page):
    for tag, attributes in page.elements:
        for name in ("src", "srcset", "data", "action", "poster"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, name)
        assert not any(name.startswith("on") for name in attributes)
    assert not re.search(r"url\(|@import|https?:", re.search(r"<style>(.*?)</style>", read(made), re.S)[1])


def read(made) -> str:
    return made.page.read_text(encoding="utf-8")


def test_policy_allows_the_one_script_only(made, page):
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    script = re.search(r"<script>(.*?)</script>", read(made), re.S)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1]


def test_no_path_of_this_computer_is_told(made):
    assert "/home/secret" not in read(made)
    assert _without_folders("zatlas study /home/me/a.npz -o ../x --labels C:\\Users\\me\\b.csv") == (
        "zatlas study …/a.npz -o ../x --labels …/b.csv"
    )


def test_settings_versions_and_seed_are_listed(made, page):
    for text in ("atlas.points", "train.learning_rate", "fingerprint of the images", "0" * 64):
        assert text in page.text


def test_tables_are_tables_with_headers(page):
    assert len(page.all("table")) >= 8
    assert all(attributes.get("scope") in ("col", "row") for attributes in page.all("th"))


def test_page_is_small(made):
    assert made.page.stat().st_size < 20_000_000


def test_pictures_get_smaller_until_they_fit(made, monkeypatch):
    recipes = [r for r in catalogue(made.results) if r.is_photograph][:3]
    pictures = [page._draw_both(recipe, made.manifest.folder) for recipe in recipes]
    assert page._choose_quality(pictures) == page._STEPS[0]
    best = sum(len(picture.pack(which, page._STEPS[0])) for picture in pictures for which in ("light", "dark"))
    monkeypatch.setattr(page, "LIMIT_BYTES", best)
    chosen = page._choose_quality(pictures)
    assert chosen in page._STEPS[1:]


def test_same_results_same_page(made, tmp_path):
    first = next(r for r in catalogue(made.results) if r.id == "z4-rates")
    pictures = [page._draw_both(first, made.manifest.folder) for _ in range(2)]
    assert pictures[0].pack("dark", page._STEPS[0]) == pictures[1].pack("dark", page._STEPS[0])


def test_a_page_that_cannot_be_written_leaves_the_old_one(made, monkeypatch, tmp_path):
    monkeypatch.setattr(page, "catalogue", lambda results: [])
    monkeypatch.setattr(page, "build_sections", lambda results, recipes: [])
    out = tmp_path / "missing" / "report.html"
    with pytest.raises(WriteError, match=r"cannot write report\.html"):
        page.report(made.results, made.manifest, out)


@pytest.mark.parametrize("options", [{"n_models": 1}, {"with_groups": False, "with_labels": False}, {"is_tiled": True}])
def test_sections_of_all_kinds_of_studies(options):
    results = example_results(**{"n_models": 2, "n_images": 40, "size": 16, **options})
    sections = build_sections(results, catalogue(results))
    assert [section.id for section in sections][:2] == ["summary", "data"]
    assert ("models" in [section.id for section in sections]) == (options.get("n_models") != 1)


def test_the_method_says_how_the_maps_were_made():
    results = example_results(n_models=2, n_images=30, size=16, points=3)
    for model in results.models:
        model.projection_info["tsne_method"] = "openTSNE 1.0: repulsion by a tree"
    texts = [block["text"] for block in method_blocks(results) if block["kind"] == "text"]
    told = [text for text in texts if text.startswith("t-SNE maps")]
    assert told == ["t-SNE maps: openTSNE 1.0: repulsion by a tree; started from the first two principal components."]
    for model in results.models:
        del model.projection_info["tsne_method"]
    texts = [block["text"] for block in method_blocks(results) if block["kind"] == "text"]
    assert not [text for text in texts if text.startswith("t-SNE maps")]


@pytest.mark.parametrize(("verdict", "cell"), [("clusters", "cluster"), ("continuum", "region")])
def test_cells_of_k_means_are_clusters_only_where_that_is_the_verdict(verdict, cell):
    results = example_results(n_models=1, n_images=40, size=16, points=3)
    model = results.models[0]
    model.cluster_info["verdict"] = verdict
    titles = [block["title"] for block in _cluster_tables(model)]
    assert titles and all(title.startswith(f"{cell.capitalize()}s of") for title in titles)
    figures = {one.id: one.title for one in catalogue(results)}
    assert figures[f"{model.name}-map-cluster"] == f"Maps of {model.name} by {cell}"
    assert figures[f"{model.name}-clusters-1"].startswith(f"{cell.capitalize()}s 0 to 2")
    model.galleries = model.galleries[:2]
    assert any(one.title.startswith(f"{cell.capitalize()}s 0 and 1 of") for one in catalogue(results))


def test_a_title_that_asks_ends_with_its_question_mark(page):
    assert "Do the models agree on neighbours?" in page.text
    assert "?." not in page.text


def test_choices_of_training_stand_in_the_order_of_the_models():
    results = example_results(n_models=2, n_images=30, size=16, points=3)
    choices = {"memory_format": {"value": "channels_last", "reason": "1.3 times faster (speed.md)"}}
    results.provenance["training"] = {name: {"best_epoch": 3, "choices": choices} for name in ("z16", "z4")}
    table = next(block for block in method_blocks(results) if block.get("title") == "Provenance")
    told = [row for row in table["rows"] if row[0].startswith(("z4", "z16"))]
    assert [row[0] for row in told] == ["z4: best epoch", "z4: memory format", "z16: best epoch", "z16: memory format"]
    assert told[1][1] == "channels_last (1.3 times faster)"


def test_numbers_that_no_model_has_are_left_out():
    results = example_results(n_models=2, n_images=30, size=16, points=3)
    results.comparison.table["test_gain_low_db"] = float("nan")
    results.comparison.table["test_pooled_gain_low_db"] = [float("nan"), 0.1]
    blocks = next(s.blocks for s in build_sections(results, catalogue(results)) if s.id == "models")
    tables = {block["title"]: block for block in blocks if isinstance(block, dict) and block["kind"] == "table"}
    names = [row[0] for row in tables["All numbers of the models"]["rows"]]
    assert "gain over PCA, lower end [dB]" not in names and "gain over PCA, pooled error, lower end [dB]" in names


def test_what_stands_under_every_path_is_said_once():
    results = example_results(n_models=2, n_images=30, size=16, points=3)
    recipes = catalogue(results)
    section = next(section for section in build_sections(results, recipes) if section.id == "walks")
    texts = [block["text"] for block in section.blocks if isinstance(block, dict) and block["kind"] == "text"]
    captions = [recipe.caption for recipe in recipes if recipe.section == "walks"]
    assert " ".join([*texts, *captions]).count("median distances between neighbours") == 1
