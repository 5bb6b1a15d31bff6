"""Findings: their numbers are those of the results, their words follow the numbers."""

import math
import re

import numpy as np
import pandas as pd
import pytest
from example_results import example_results

from zatlas.report.cards import keys, model_table
from zatlas.report.findings.words import listing
from zatlas.report.findings.writing import findings, in_short
from zatlas.report.priors import divergence_words, prior_blocks
from zatlas.results.kinds import StudyResults


@pytest.fixture
def results() -> StudyResults:
    return example_results(n_models=3, n_images=60, size=24)


def text_of(results: StudyResults, section: str) -> str:
    return next(finding.text for finding in findings(results) if finding.section == section)


def test_all_questions_are_answered(results):
    sections = [finding.section for finding in findings(results)]
    assert sections == [
        "reconstructions", "pca", "gap", "lost", "encoder", "invariance", "clusters", "organisation", "maps", "walks",
        "samples", "source", "dimensions", "objective", "warnings",
    ]  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"with_groups": False, "with_labels": False}, {"is_tiled": True}])
@pytest.mark.parametrize("n_models", [1, 2, 4])
def test_sentences_are_whole(options, n_models):
    for finding in findings(example_results(n_models=n_models, n_images=60, size=24, **options)):
        for paragraph in finding.text.split("\n"):
            assert paragraph[0].isupper() or re.match(r"z\d", paragraph)
            assert paragraph[-1] in ".:)"
            assert "  " not in paragraph
            assert not re.search(r"\bnan\b|None|inf\b|\.\.", paragraph), paragraph
            assert not re.search(r"(?<![\d.])1 (images|tiles|dimensions|clusters|groups|files|sizes)\b", paragraph)


def test_reconstruction_numbers_are_those_of_the_table(results):
    finding = findings(results)[0]
    for model in results.models:
        test = model.metrics.loc["test"]
        assert finding.numbers[model.name]["psnr_db"] == test["psnr_db"]
        assert f"{test['psnr_db']:.1f}" in finding.text
    gain = results.models[2].metrics.loc["test", "psnr_db"] - results.models[0].metrics.loc["test", "psnr_db"]
    assert finding.numbers["psnr_gain_db"] == gain
    assert f"+{gain:.2f} dB" in finding.text


@pytest.mark.parametrize(
    ("gaps", "start", "words"),
    [
        ((1.0, 0.5, 0.2), "The VAE beats PCA of the same size at every latent size:", "1.00, 0.50 and 0.20 dB above"),
        ((-1.0, -0.5, -0.2), "The VAE stays below PCA of the same size at every", "1.00, 0.50 and 0.20 dB below"),
        ((1.0, -0.5, 0.2), "The VAE beats PCA of the same size at 2 of 3 latent sizes and stays below it at 1:",
         "+1.00, −0.50 and +0.20 dB from"),
        ((0.05, 0.0, 0.02), "The VAE is level with PCA of the same size at every", "0.05, 0.00 and 0.02 dB above"),
        ((0.5, 0.0, 0.02), "The VAE beats PCA of the same size at 1 of 3 latent sizes and is level with it at 2:",
         "0.50, 0.00 and 0.02 dB above"),
        ((-0.5, 0.0, 0.02), "stays below PCA of the same size at 1 of 3 latent sizes and is level with it at 2:",
         "−0.50, 0.00 and +0.02 dB from"),
    ],
)  # fmt: skip
def test_verdict_on_pca_follows_the_numbers(results, gaps, start, words):
    for model, gap in zip(results.models, gaps, strict=True):
        model.metrics.loc["test", "pca_psnr_db"] = model.metrics.loc["test", "psnr_db"] - gap
    text = text_of(results, "pca")
    assert start in text.partition(". ")[0] and text.startswith("The VAE ")
    assert words in text
    assert ("PCA is ahead" in text) == (min(gaps) < -0.1)


def with_gains(model, measures, n_empty=3.0, n_groups=12.0):
    """Give a model the metrics of a study that knows the three measures: prefix -> gain, low, high."""
    for prefix, values in measures.items():
        for end, value in zip(("", "low_", "high_"), values, strict=True):
            model.metrics.loc["test", f"{prefix}gain_{end}db"] = value
    model.metrics.loc["test", ["n_empty", "n_groups", "pooled_psnr_db"]] = n_empty, n_groups, 26.0


def test_three_measures_against_pca_with_their_intervals(results):
    results.models = results.models[:1]
    model = results.models[0]
    model.pca_facts = {"unit": "group", "n_draws": 4096, "draws": [4096], "is_augmented": True, "is_settled": True}
    measures = {"": (-0.4, -0.8, -0.1), "content_": (0.02, -0.01, 0.05), "pooled_": (0.31, 0.25, 0.37)}
    with_gains(model, measures)
    results.config["data"] = {"group": "patient"}
    results.data.groups = pd.DataFrame({"group": ["a", "b"], "train": [9, 0], "test": [0, 9]})
    text = text_of(results, "pca")
    assert text.startswith("The VAE stays below PCA of the same size: with 4 latent dimensions the mean PSNR")
    assert "0.40 dB below" in text and "PCA is ahead" in text
    assert "z4 stays below PCA-4 by 0.40 dB [0.10, 0.80], on 12 held-out patients" in text
    assert "By the mean over images z4" in text and "tile" not in text
    assert "Without the 3 images that are nearly empty z4 is level with PCA-4 (0.02 dB [−0.01, 0.05])" in text
    assert "pooled over all pixels z4 beats PCA-4 by 0.31 dB [0.25, 0.37]" in text
    assert "PCA was shown 4\u202f096 training images, varied as for the network, repeats counted." in text
    card = next(key for key in keys(results) if key["name"].startswith("Against PCA"))
    assert (
        card["value"] == "−0.40 dB"
        and "12 held-out patients; without empty images +0.02 [−0.01, +0.05]" in card["more"]
    )
    lost = next(finding for finding in findings(results) if finding.section == "lost")
    assert lost.numbers["z4"]["rms_error_percent"] == pytest.approx(100 * 10 ** (-26 / 20))
    results.data.groups["train"] = 9
    assert "on 12 patients (" in text_of(results, "pca")
    table = model_table(results)
    assert "+0.31 [+0.25, +0.37]" in str(table) and "3 nearly empty ones left out" in str(table)


def test_one_test_group_has_no_interval(results):
    none = float("nan")
    for model in results.models:
        with_gains(
            model, {"": (0.5, none, none), "content_": (0.5, none, none), "pooled_": (0.4, none, none)}, 0.0, 1.0
        )
    text = text_of(results, "pca")
    assert (
        text.startswith("The VAE beats PCA of the same size at every latent size")
        and "The test split is of one group" in text
    )
    assert "[" not in text and "nearly empty" not in text
    card = next(key for key in keys(results) if key["name"].startswith("Against PCA"))
    assert "without an interval" in card["more"]


def test_a_study_of_0_1_0_says_what_it_knows(results):
    card = next(key for key in keys(results) if key["name"].startswith("Against PCA"))
    assert card["more"] == "on test images; above 0 the VAE is better"
    assert "pooled" not in text_of(results, "pca") and "pooled" not in str(model_table(results))


def pca(draws, *, varied, settled=True, other=float("nan")):
    return {
        "unit": "group", "n_draws": draws, "draws": [draws], "is_augmented": varied, "is_settled": settled,
        "validation_db": [20.0], "other_db": other,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        (pca(4096, varied=True), "PCA was shown 4\u202f096 training images, varied as for the network, repeats counted"
         ". On validation images half as many made it less than 0.02 dB worse, so more would hardly help."),
        (pca(65536, varied=True, settled=False), "repeats counted. With more of them it might still become a little"),
        (pca(724, varied=False, other=19.9), "PCA was shown 724 training images as they are: shifted, zoomed or flipped"
         " like those of the network, they made it 0.10 dB worse on validation images."),
        (pca(724, varied=False), "PCA was shown 724 training images as they are, which is also what the network saw."),
        ({}, "PCA was fitted to the same training images."),
    ],
)  # fmt: skip
def test_each_way_to_a_pca_has_its_own_sentence(results, facts, sentence):
    for model in results.models:
        model.pca_facts = facts
    text = text_of(results, "pca")
    assert sentence in text and text.count("PCA was") == 1
    assert "clipped to the same grey range" in text


def test_pcas_that_came_about_differently_are_told_apart(results):
    for model, facts in zip(
        results.models, (pca(724, varied=False, other=19.9), *[pca(4096, varied=True)] * 2), strict=True
    ):
        model.pca_facts = facts
    text = text_of(results, "pca")
    assert "PCA beside z4 was shown 724 training images as they are" in text
    assert "PCA beside z16 and z32 was shown 4\u202f096 training images, varied" in text


def test_images_that_come_back_exactly_are_told_where_psnr_is(results):
    model = results.models[0]
    with_gains(model, {"": (-0.4, -0.8, -0.1), "content_": (0.1, 0.0, 0.2), "pooled_": (0.3, 0.2, 0.4)})
    results.models = [model]
    assert "100 dB" not in text_of(results, "pca") + str(model_table(results))
    model.metrics.loc["test", ["n_exact", "pca_n_exact"]] = 0.0, 2.0
    words = "Some images come back exactly, as evenly grey ones can: 2 from PCA. Each counts as 100 dB"
    assert words in text_of(results, "pca") and words in str(model_table(results))
    model.metrics.loc["test", "n_exact"] = 1.0
    assert "2 from PCA and 1 from z4." in text_of(results, "pca")


def test_a_start_that_no_epoch_beat_is_said(results):
    assert "as it began" not in text_of(results, "pca")
    results.models[2].kept_epoch = 0
    assert "No epoch of z32 was better on validation images than the principal components" in text_of(results, "pca")


def test_a_step_within_the_noise_is_called_so(results):
    assert "may be chance" not in text_of(results, "reconstructions")
    for model in results.models:
        model.metrics.loc["test", "psnr_sd"] = 30.0
    assert "may be chance" in text_of(results, "reconstructions")


@pytest.mark.parametrize(("gap", "words"), [(0.0, "no sign"), (0.5, "small against"), (3.0, "two possible causes")])
def test_gap_between_training_and_test(results, gap, words):
    for model in results.models:
        model.metrics.loc["train", "psnr_db"] = model.metrics.loc["test", "psnr_db"] + gap
    assert words in text_of(results, "gap") and "tile" not in text_of(results, "gap")
    results.data.is_tiled = True
    assert "of training tiles" in text_of(results, "gap") and "of test tiles" in text_of(results, "gap")


def test_bits_and_error_follow_from_rate_and_psnr(results):
    finding = next(finding for finding in findings(results) if finding.section == "lost")
    model = results.models[0]
    expected = model.metrics.loc["test", "rate_nats"] / math.log(2)
    assert finding.numbers["z4"]["rate_bits"] == pytest.approx(expected)
    assert finding.numbers["z4"]["rms_error_percent"] == pytest.approx(
        100 * 10 ** (-model.metrics.loc["test", "psnr_db"] / 20)
    )


def test_texture_kept_is_one_for_a_copy_and_none_for_a_blank(results):
    model, rng = results.models[0], np.random.default_rng(0)
    noise = rng.uniform(size=(3, 1, 32, 32)).astype(np.float32)
    model.reconstructions.originals, model.reconstructions.reconstructions = noise, noise.copy()
    model.reconstructions.pca = np.full_like(noise, 0.5)
    finding = next(finding for finding in findings(results) if finding.section == "lost")
    assert finding.numbers["z4"]["texture_kept"] == pytest.approx(1.0)
    assert finding.numbers["z4"]["texture_pca"] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("likelihood", "words"), [("bernoulli", "not a likelihood"), ("gaussian", "is a likelihood")])
def test_objective_is_named_for_what_it_is(results, likelihood, words):
    for model in results.models:
        model.likelihood = likelihood
    assert words in text_of(results, "objective")


def test_bits_per_value_are_given_for_whole_numbers_alone(results):
    results.models[0].likelihood, results.models[1].likelihood = "gaussian", "discretised_logistic"
    results.models[1].metrics.loc["test", "distortion_nats"] = 3.5 * math.log(2) * results.data.channels * 24**2
    text = text_of(results, "objective")
    assert "the distortion in bits per pixel value is 3.50 in z" in text
    assert text.count("bits per pixel value is") == 1
    assert "compare PSNR, SSIM and rate between them" in text


@pytest.mark.parametrize(("auc", "words"), [(0.97, "far from the prior"), (0.52, "close to the prior")])
def test_mismatch_with_the_prior(results, auc, words):
    for model in results.models:
        model.samples.mismatch["auc"] = auc
    text = text_of(results, "samples")
    assert words in text
    assert f"{auc:.2f}" in text


def test_models_that_lie_differently_beside_the_prior_are_told_apart(results):
    for model, auc in zip(results.models, (0.65, 0.97, 0.66), strict=True):
        model.samples.mismatch["auc"] = auc
    text = text_of(results, "samples")
    assert "lie somewhat apart from the prior (z4 and z32) and far from the prior (z16), and draws" in text
    assert "the latents of training images" in text


@pytest.mark.parametrize(("verdict", "cell"), [("clusters", "cluster"), ("continuum", "region")])
def test_a_cell_is_called_by_the_verdict_in_its_example_too(results, verdict, cell):
    for model in results.models:
        model.cluster_info["verdict"] = verdict
        model.cluster_info["tables"] = {"site": pd.DataFrame([[9, 1], [1, 9]], index=[0, 1], columns=["a", "b"])}
    assert f"90 % of {cell} 0 have site “a”" in text_of(results, "clusters")


@pytest.mark.parametrize(
    ("latents", "histogram", "words"),
    [(0.9, 0.88, "no more than that"), (0.9, 0.4, "hold more"), (0.04, 0.03, "little trace")],
)
def test_stain_or_tissue(results, latents, histogram, words):
    for model in results.models:
        rows = model.probes["label"] == "stain"
        model.probes.loc[rows, ["score_latents", "score_histogram"]] = latents, histogram
    assert words in text_of(results, "source")


def test_walks_without_change_are_said_to_have_none(results):
    for model in results.models:
        for walk in model.walks:
            walk.changes = []
    assert "no measured feature changes" in text_of(results, "walks")


def test_a_walk_far_from_data_is_marked(results):
    results.models[0].walks[0].nearest_distance[2] = 7.5
    assert "PC1 (7.5)" in text_of(results, "walks")


def test_in_short_takes_first_sentences(results):
    short = in_short(findings(results))
    assert 5 <= len(short) <= 8
    assert all(sentence.endswith(".") for sentence in short)
    assert not [sentence for sentence in short if re.match(r"(Yes|No|There)\b", sentence)], "an answer without question"


def test_listing():
    assert [listing(parts) for parts in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]


def test_the_table_of_priors_says_what_each_is_and_what_it_gains(results):
    blocks = prior_blocks(results)
    table, text = blocks[0], blocks[1]["text"]
    assert [row[0] for row in table["rows"]] == [
        "standard: the standard normal N(0, I)", "gaussian: a Gaussian", "mixture: Gaussian mixture of 4 components",
    ]  # fmt: skip
    assert [row[1] for row in table["rows"]] == ["with the model", "after the model", "after the model"]
    assert table["best"] == {(2, 2), (4, 2)}
    elbo, found = results.models[0].metrics.loc["test", "elbo_nats"], results.models[0].samples.priors
    shown = [float(row[3].replace("\u2212", "-").replace("\u202f", "")) for row in table["rows"]]
    assert shown == pytest.approx([elbo, elbo + 2, elbo + 2.5], abs=0.1)
    assert "was trained with the standard normal N(0, I)" in text
    assert "validation latents prefer mixture. On test images its bound is 2.5 nats per image above" in text
    assert "hardly told from its draws (AUC 0.57; from those of its own 0.96)" in text
    found["rate_nats"], found["auc"] = [3.0, 2.0, 3.0], [0.7, 0.8, 0.9]
    text = prior_blocks(results)[1]["text"]
    assert "prefer mixture. On test images its bound is no higher than that of the model's own" in text
    assert "latents are told from its draws (AUC 0.90; from those of its own 0.70)" in text
    found["auc"] = float("nan")
    assert "AUC" not in prior_blocks(results)[1]["text"]


def test_what_the_rate_is_a_divergence_from_is_said(results):
    assert divergence_words(results) == "N(0, I), summed over latent dimensions"
    results.models[0].prior = "flow"
    words = divergence_words(results)
    name = results.models[0].name
    assert f"a normalising flow that was trained with the model ({name})" in words
    assert "the standard normal N(0, I) (" in words
    assert "estimated with draws of the posterior" in words
