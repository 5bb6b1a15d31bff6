"""The method section: what was used in training stands there, not what was asked for."""

import pytest
from example_results import example_results

from zatlas.config import ModelConfig, StudyConfig, TrainConfig, to_dict
from zatlas.model.network import NetworkConfig
from zatlas.report.method import method_blocks
from zatlas.report.training import (
    ADAM_BETAS,
    MUON_MOMENTUM,
    MUON_RATE,
    NORMS_KEPT,
    in_force,
    trained,
    training_texts,
)
from zatlas.training import adam, fit, muon, optimizer


def with_records(results, *, train=None, network=None, **facts):
    """Results with the record that each training leaves, as `training.fit` writes it."""
    train, network = train or TrainConfig(epochs=20), network or {}
    results.config["train"] = to_dict(train)
    settings = {name: value for name, value in to_dict(train).items() if name not in fit._WITHOUT_EFFECT}
    records = {}
    for model in results.models:
        layers = {"widths": (16, 32, 64), "linear_path": "on", **network}
        built = to_dict(NetworkConfig(latent_dim=model.latent_dim, channels=1, size=64, **layers))
        choices = {
            name: {"value": value, "reason": "so"}
            for name, value in (("precision", "float32"), ("device", "cpu"), ("threads", 2))
        }
        records[model.name] = {
            "best_epoch": 17, "epochs": 20, "stopped": "", "steps": 400, "rollbacks": 0, "choices": choices,
            "settings": {"train": dict(settings), "network": built, "epoch_images": 320, "bends": True}, **facts,
        }  # fmt: skip
    results.provenance["training"] = records
    return results


def told(results) -> str:
    return " ".join(training_texts(results))


@pytest.fixture
def results():
    return example_results(n_models=2, n_images=30, size=16, points=3)


def test_a_methods_paragraph_can_be_written_from_it(results):
    text = told(with_records(results, train=TrainConfig(epochs=40, patience=10), start_db=[20.0, 18.0]))
    assert "give its images back" not in told(with_records(results))
    for words in (
        "3 convolutions of kernel 3 and stride 2 with 16, 32 and 64 channels",
        "nearest-neighbour upsampling",
        "fixed linear path: as many principal components",
        "moved by Muon (momentum 0.95, 10 times the learning rate of Adam, decoupled weight decay 0.1)",
        "all other parameters by Adam (beta 0.9 and 0.999, no weight decay)",
        "An epoch was 320 images",
        "a batch of 16",
        "shifted, zoomed and smoothly bent at random by up to 6 %",
        "rose linearly to 0.001 over the first epoch and fell along a cosine",
        "rate rose linearly from 0 to beta over the first 5 epochs",
        "exponential moving average of the weights (decay 0.998 per step",
        "set to 40 epochs, or to end when 10 in a row brought no gain on the validation split",
        "of those epochs that give its images back as well as the PCA with which training began",
        "z4 ran 20 epochs and keeps epoch 17",
        "Training computed in float32 on a processor.",
    ):
        assert words in text, words
    assert "Trained parameters: 100\u202f000" not in text and "(z4)" in text.split("Trained parameters")[1]


def test_constants_are_those_of_the_training():
    assert (MUON_RATE, MUON_MOMENTUM) == (optimizer._MUON_RATE, muon._MOMENTUM)
    assert (ADAM_BETAS, NORMS_KEPT) == (adam._BETAS, fit._NORMS_KEPT)


def test_warm_ups_of_a_short_training_are_those_in_force(results):
    with_records(results, train=TrainConfig(epochs=10))
    text = told(results)
    assert "over the first 1.25 epochs" not in text
    assert "to 0.001 over the first epoch and" in text and "to beta over the first 2.5 epochs" in text
    assert "or to end" not in text  # 25 epochs of patience are more than there are
    settings = {row[0]: row[1] for row in table_of(results, "Settings")}
    assert settings["train.kl_warmup_epochs"] == "5 [2.5]" and settings["train.warmup_epochs"] == "1"


def table_of(results, title):
    return next(block for block in method_blocks(results) if block.get("title") == title)["rows"]


def test_what_was_left_open_is_shown_as_it_became(results):
    results.config = {**to_dict(StudyConfig(model=ModelConfig(latent_dim=(4, 16), widths=(16, 32, 64))))}
    with_records(results)
    results.provenance["training"]["z16"]["settings"]["network"]["linear_path"] = "off"
    settings = {row[0]: row[1] for row in table_of(results, "Settings")}
    assert settings["model.linear_path"] == "auto [on (z4), off (z16)]"
    assert settings["model.widths"] == "16, 32, 64"
    assert settings["train.precision"] == "auto [float32]" and settings["train.device"] == "auto [cpu]"
    assert settings["train.threads"] == "0 [2]" and settings["tiles.tiles_per_epoch"] == "0 [320]"
    assert settings["atlas.clusters"] == "0 [3]" and settings["atlas.perplexity"] == "0 [26.7]"
    assert "training began with convolutions that add nothing (z4)." in told(results)


def test_without_a_record_only_what_was_asked_for_is_told(results):
    assert "Adam" in told(results) and "epoch 17" not in told(results)
    assert "train.precision" not in in_force(results) and "model.linear_path" not in in_force(results)


def test_a_training_of_0_1_0_had_none_of_the_new_parts(results):
    with_records(results, train=TrainConfig(epochs=3, weight_decay=0.0))
    for record in results.provenance["training"].values():
        for name in ("optimizer", "ema_decay"):
            del record["settings"]["train"][name]
        record["epochs"] = 3
    text = told(results)
    assert "All parameters were moved by Adam" in text and "Muon" not in text and "moving average" not in text
    assert "over 5 epochs, and reached 60 % of it" in text and "or to end" not in text


def test_what_differs_between_models_is_said_of_each(results):
    with_records(results)
    results.provenance["training"]["z4"] |= {
        "stopped": "no gain on validation for 5 epochs",
        "best_epoch": 0,
        "epochs": 5,
    }
    text = told(results)
    assert (
        "z4 ran 5 epochs (stopped: no gain) and keeps its start, epoch 0; z16 ran 20 epochs and keeps epoch 17." in text
    )
    assert "No epoch of z4 was better on validation images than PCA" in text


def test_a_module_of_ones_own_and_one_stage_have_no_muon(results):
    with_records(results)
    one = trained(results)[0]
    assert one.has_muon
    assert not one._replace(network={"widths": (16,), "blocks": 0}).has_muon
    assert not one._replace(network={"own": "Mine"}).has_muon
    results.provenance["training"]["z4"]["settings"]["network"] = {"own": "Mine"}
    assert "The network is Mine, a module that was given to zatlas (z4)." in told(results)


def test_a_covariate_that_the_decoder_is_told_is_named_with_its_weight(results):
    assert "The decoder is told" not in told(with_records(results))
    layers = {"covariate": "group", "covariate_values": ("B01", "B02"), "covariate_weight": 0.3, "linear_path": "off"}
    text = told(with_records(results, network=layers))
    assert "The decoder is told the group of each image" in text
    assert "between the 2 values of the training images by their energy distance (weight 0.3 for each value" in text


def test_what_training_asked_of_draws_and_of_shifted_images_is_told(results):
    plain = told(with_records(results, network={"texture": "local"}))
    assert "maps of local latents" in plain
    assert "energy score" not in plain and "kept z still" not in plain
    text = told(with_records(results, network={"texture": "matched", "consistency": 30.0}))
    assert "maps of local latents" in text and "energy score between statistics" in text
    assert "kept z still where an image is shifted by up to a quarter of its side (weight 30 nats)" in text


def test_tiles_are_told_as_tiles():
    results = with_records(example_results(n_models=1, n_images=30, size=16, points=3, is_tiled=True))
    results.config["tiles"]["augment"] = "on"
    text = told(results)
    assert "An epoch was 320 tiles, cut from anywhere in the training images so that every pixel" in text
    assert "flipped and turned by right angles at random" in text and "shifted" not in text
