"""The loop: learning, resuming bit for bit after SIGKILL, stopping, rolling back."""

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch

from zatlas import files
from zatlas.config import TrainConfig
from zatlas.errors import TrainingError, UsageError
from zatlas.model.building import build
from zatlas.model.likelihoods import Gaussian
from zatlas.model.network import load_weights
from zatlas.report.figures.curves import best_epoch as plot_best_epoch
from zatlas.training import fit as fit_module
from zatlas.training.evaluation import evaluate, evaluation
from zatlas.training.fit import learning_rate_at

sys.path.insert(0, str(Path(__file__).parent))
from tiny_training import blobs, tiles_of, train

CLOCKS = ["seconds", "images_per_s", "data_wait"]
LIKELIHOODS = ["bernoulli", "gaussian"]


def outcome(run):
    """What must be equal between two runs: the weights' hash and the history without its clocks."""
    history = pd.read_csv(run / "history.csv").drop(columns=CLOCKS)
    return files.sha256(run / "weights.safetensors"), history.to_csv()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Outcome of a training from beginning to end, by likelihood."""
    outcomes = {}
    for likelihood in LIKELIHOODS:
        run = tmp_path_factory.mktemp(likelihood) / "run"
        train(run, likelihood=likelihood)
        outcomes[likelihood] = outcome(run)
    return outcomes


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_training_learns_and_writes_its_files(tmp_path, likelihood):
    _, history = train(tmp_path, likelihood=likelihood, epochs=12)
    assert list(history["epoch"]) == list(range(1, 13))
    assert history["validation_elbo_nats"].iloc[-1] > history["validation_elbo_nats"].iloc[0] + 1
    np.testing.assert_allclose(
        history["test_elbo_nats"], -history["test_distortion_nats"] - history["test_rate_nats"], rtol=1e-12
    )
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["state"] == "complete"
    assert record["best_epoch"] == 1 + int(history["validation_objective_nats"].argmin())
    assert set(record["choices"]) == {"device", "precision", "threads", "memory_format", "compile", "allocator"}
    assert record["choices"]["threads"] == {"value": 1, "reason": "as asked for"}
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "history.csv"), history, check_dtype=False)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1


def test_stored_weights_are_those_of_the_best_epoch(tmp_path):
    network, history = train(tmp_path, epochs=6, precision="float32")
    load_weights(network, tmp_path / "weights.safetensors")
    found = evaluate(network, tiles_of(blobs(30, seed=2)), seed=0)
    assert found["n"] == 30
    best = history.loc[history["validation_objective_nats"].idxmin()]
    assert found["rate_nats"] == pytest.approx(best["validation_rate_nats"], rel=1e-6)
    # The stored noise is the optimum of the validation part, so that the distortion is the fitted one.
    assert -found["elbo_nats"] == pytest.approx(best["validation_objective_nats"], rel=1e-5)
    assert -found["elbo_nats"] < -best["validation_elbo_nats"] - 0.01, "otherwise this training tells nothing"


def test_the_epoch_is_not_chosen_by_the_running_noise(tmp_path):
    """A network that stands still has one objective, whatever noise the last training batches left behind."""
    _, history = train(tmp_path, learning_rate=1e-12, batch_size=10, precision="float32")
    assert np.ptp(history["validation_distortion_nats"]) > 0.01, "otherwise this training tells nothing"
    assert np.ptp(history["validation_objective_nats"]) < 1e-3


def test_the_objective_is_that_of_the_optimal_noise(tmp_path):
    network, x = build(train_config_network(), seed=0), blobs(30, seed=2)
    tiles, outcomes = tiles_of(x), []
    for log_var in (-6.0, 0.0, 5.0):
        network.log_noise_var.fill_(log_var)
        with fit_module.Shards(network) as shards:
            numbers, (squared, n_values) = evaluation(shards, tiles, seed=0)
        assert float(network.log_noise_var) == log_var, "the noise of the training stays"
        outcomes.append(numbers["fitted_distortion_nats"])
        variance = float(squared / n_values)
        assert float(n_values) == x.size
        assert outcomes[-1] == pytest.approx(128 * (math.log(2 * math.pi * variance) + 1), rel=1e-6)
        assert outcomes[-1] < numbers["distortion_nats"]
    assert outcomes == pytest.approx([outcomes[0]] * 3, rel=1e-12)


def test_calibrated_weights_are_not_those_from_which_training_goes_on(tmp_path, monkeypatch):
    original, seen = Gaussian.observe, []

    def listening(self, residuals, *, step):
        before = float(self.log_noise_var)
        original(self, residuals, step=step)
        seen.append((before, float(self.log_noise_var)))

    monkeypatch.setattr(Gaussian, "observe", listening)
    train(tmp_path)
    assert len(seen) == 12
    assert [before for before, _ in seen[1:]] == [after for _, after in seen[:-1]]


def test_an_epoch_of_the_warm_up_is_judged_at_full_beta(tmp_path):
    _, history = train(tmp_path, likelihood="bernoulli", beta=3.0, epochs=8, kl_warmup_epochs=2.0)
    assert history["kl_weight"].iloc[0] == 0.5
    objective = history["validation_distortion_nats"] + 3 * history["validation_rate_nats"]
    np.testing.assert_allclose(history["validation_objective_nats"], objective, rtol=1e-12)


def test_a_training_of_an_older_version_chooses_its_epoch_anew(tmp_path):
    stopped = iter([False] * 7 + [True])
    train(tmp_path, stop_requested=lambda: next(stopped))
    for state in tmp_path.glob("checkpoints/*/state.json"):
        record = json.loads(state.read_text())
        record["best_loss"] = -1e9  # one that no epoch reaches
        for row in record["history"]:
            del row["validation_objective_nats"]
        state.write_text(json.dumps(record))
    _, history = train(tmp_path)
    assert history["validation_objective_nats"].isna().tolist() == [True, True, False, False]
    best = 1 + int(np.nanargmin(history["validation_objective_nats"]))
    assert json.loads((tmp_path / "training.json").read_text())["best_epoch"] == best
    assert best == plot_best_epoch(history)


@pytest.fixture(scope="module")
def weighted(tmp_path_factory):
    """Folder and history of a training whose beta is so small that the rate rises while the objective falls."""
    run = tmp_path_factory.mktemp("weighted") / "run"
    _, history = train(
        run, likelihood="bernoulli", beta=0.001, epochs=12, batch_size=16, learning_rate=1e-2, kl_warmup_epochs=0.0,
        optimizer="adam",
    )  # fmt: skip
    return run, history


def test_best_epoch_is_that_of_the_objective_and_not_of_the_elbo(weighted):
    run, history = weighted
    objective = history["validation_distortion_nats"] + 0.001 * history["validation_rate_nats"]
    assert objective.argmin() != history["validation_elbo_nats"].argmax(), "otherwise this training tells nothing"
    assert json.loads((run / "training.json").read_text())["best_epoch"] == 1 + int(objective.argmin())


def test_history_counts_the_rate_unweighted(weighted):
    _, history = weighted
    for part in ("train", "validation", "test"):
        total = history[f"{part}_distortion_nats"] + history[f"{part}_rate_nats"]
        np.testing.assert_allclose(history[f"{part}_elbo_nats"], -total, rtol=1e-12)


def test_rate_is_weighted_by_beta_and_by_the_warm_up(tmp_path, monkeypatch):
    original, weights = fit_module.Shards.evaluate, []

    def listening(self, x, mask, noise, *, rate_weight=None, jitter=None, **others):
        weights.extend([] if rate_weight is None else [rate_weight])
        return original(self, x, mask, noise, rate_weight=rate_weight, jitter=jitter, **others)

    monkeypatch.setattr(fit_module.Shards, "evaluate", listening)
    _, history = train(tmp_path, epochs=8, beta=3.0, kl_warmup_epochs=2.0, precision="float32")
    # Batches of 40, 40 and 20 of 100 images: each weight is that before its step.
    assert weights == pytest.approx([3 * min(1, done / 2) for epoch in range(8) for done in epoch + np.r_[0, 0.4, 0.8]])
    assert history["kl_weight"].tolist() == [0.5, *7 * [1]]


def test_a_short_training_warms_up_for_a_quarter_of_its_epochs_alone(tmp_path):
    _, history = train(tmp_path, epochs=2, kl_warmup_epochs=5.0, precision="float32")
    assert history["kl_weight"].tolist() == [1, 1]
    short, long = TrainConfig(epochs=4), TrainConfig(epochs=100)
    assert (short.warmup, short.kl_warmup) == (0.5, 1)
    assert (long.warmup, long.kl_warmup) == (long.warmup_epochs, long.kl_warmup_epochs)


def test_each_batch_of_an_evaluation_has_noise_of_its_own():
    network = build(train_config_network(), seed=0)
    once, twice = (evaluate(network, tiles_of(np.repeat(blobs(1, seed=2), n, axis=0)), seed=0) for n in (64, 128))
    assert (once["n"], twice["n"]) == (64, 128)
    assert once["rate_nats"] == pytest.approx(twice["rate_nats"], rel=1e-6), "the images are all the same"
    assert abs(once["distortion_nats"] - twice["distortion_nats"]) > 1e-6 * abs(once["distortion_nats"])


def test_the_test_part_steers_nothing(tmp_path, undisturbed):
    original = fit_module._Training._evaluate

    def nonsense_on_test(self, tiles):
        found = original(self, tiles)
        return found._replace(numbers=dict.fromkeys(found.numbers, math.nan)) if tiles is self.test else found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_module._Training, "_evaluate", nonsense_on_test)
        _, history = train(tmp_path)
    assert history["test_elbo_nats"].isna().all()
    assert files.sha256(tmp_path / "weights.safetensors") == undisturbed["gaussian"][0]


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_any_number_of_threads_gives_the_same_bits(tmp_path, likelihood, threads, undisturbed):
    train(tmp_path, likelihood=likelihood, threads=threads)
    assert outcome(tmp_path) == undisturbed[likelihood]


def test_global_states_are_left_alone(tmp_path):
    before, numpy_before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    threads = torch.get_num_threads()
    train(tmp_path, epochs=1)
    assert torch.equal(before, torch.random.get_rng_state())
    assert (numpy_before == np.random.get_state()[1]).all()  # noqa: NPY002
    assert torch.get_num_threads() == threads


def run_until_killed(run, likelihood, threads, kill_after):
    """Start a training in a process and kill it after so many printed steps; returns whether it was killed."""
    script = Path(__file__).with_name("tiny_training.py")
    command = [sys.executable, str(script), str(run), likelihood, str(threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for count, _ in enumerate(process.stdout, start=1):
            if count == kill_after:
                process.send_signal(signal.SIGKILL)
                break
        process.communicate()
        return process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("likelihood", [pytest.param("bernoulli", marks=pytest.mark.slow), "gaussian"])
def test_killed_and_resumed_equals_undisturbed(tmp_path, likelihood, undisturbed):
    # 12 steps in all: killed in the first epoch, in the second and in the last, with other thread numbers each time.
    for kill_after, threads in ((2, 1), (3, 2), (5, 3)):
        assert run_until_killed(tmp_path, likelihood, threads, kill_after)
    train(tmp_path, likelihood=likelihood)
    assert outcome(tmp_path) == undisturbed[likelihood]


class _Killed(BaseException):
    """Stands for the end of the process at a place of our choice."""


@pytest.mark.parametrize("place", ["new_file", "new_folder", "write_csv", "_flush", "sha256"])
def test_dying_at_any_write_loses_nothing(tmp_path, monkeypatch, place, undisturbed):
    original, calls = getattr(files, place), iter(range(10**6))

    def dying(*args, **kwargs):
        if next(calls) == budget:
            raise _Killed
        return original(*args, **kwargs)

    deaths, budget = 0, 0
    monkeypatch.setattr(files, place, dying)
    while True:
        calls = iter(range(10**6))
        try:
            train(tmp_path, checkpoint_minutes=1e-9)
        except _Killed:
            deaths, budget = deaths + 1, budget + 7
            continue
        break
    assert deaths >= 1
    assert outcome(tmp_path) == undisturbed["gaussian"]


def test_stop_request_keeps_the_last_step(tmp_path, undisturbed):
    seen = []
    _, history = train(tmp_path, on_step=seen.append, stop_requested=lambda: len(seen) >= 5)
    assert len(seen) == 5
    assert len(history) == 1
    assert json.loads((tmp_path / "training.json").read_text())["state"] == "interrupted"
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000005"]
    train(tmp_path, on_step=seen.append)
    assert [step.step for step in seen] == list(range(1, 13))
    assert outcome(tmp_path) == undisturbed["gaussian"]


def test_a_complete_training_is_not_done_again(tmp_path, undisturbed):
    train(tmp_path)
    seen = []
    _, history = train(tmp_path, on_step=seen.append)
    assert not seen
    assert len(history) == 4
    assert outcome(tmp_path) == undisturbed["gaussian"]


def test_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, caplog, undisturbed):
    seen = []
    train(tmp_path, on_step=seen.append, stop_requested=lambda: len(seen) >= 9, checkpoint_minutes=1e-9)
    newest = sorted((tmp_path / "checkpoints").iterdir())[-1]
    content = bytearray((newest / "optimizer.safetensors").read_bytes())
    content[-3] ^= 1
    (newest / "optimizer.safetensors").write_bytes(bytes(content))
    train(tmp_path)
    assert f"checkpoint {newest.name} is damaged" in caplog.text
    assert outcome(tmp_path) == undisturbed["gaussian"]


def test_other_settings_are_refused_with_the_difference(tmp_path):
    train(tmp_path, epochs=1)
    with pytest.raises(UsageError, match=r"train\.epochs: 1 -> 2"):
        train(tmp_path, epochs=2)


def test_another_number_of_images_is_refused_although_epochs_are_as_long(tmp_path):
    train(tmp_path, epochs=1, tiles_per_epoch=80)
    with pytest.raises(UsageError, match=r"other settings \(n_images: 100 -> 90\)"):
        train(tmp_path, epochs=1, tiles_per_epoch=80, x=blobs(90, seed=1))


def test_checkpoints_keep_the_last_two_and_hold_no_pickle(tmp_path):
    train(tmp_path, stop_requested=lambda: False, checkpoint_minutes=1e-9)
    folders = sorted((tmp_path / "checkpoints").iterdir())
    assert len(folders) <= 2
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert file.suffix in (".safetensors", ".json", ".csv")
            assert not file.read_bytes().startswith((b"PK", b"\x80"))


def test_images_that_are_no_numbers_are_named(tmp_path):
    x = blobs(100, seed=1)
    x[17, 0, 3, 3] = np.nan
    x[42, 0, 0, 0] = np.inf
    with pytest.raises(TrainingError, match=r"images hold values that are not finite numbers: img0(17|42)"):
        train(tmp_path, x=x)
    for weights in tmp_path.rglob("weights.safetensors"):
        network = build(train_config_network(), seed=0)
        load_weights(network, weights)
        assert all(bool(torch.isfinite(value).all()) for value in network.state_dict().values())


def train_config_network():
    from zatlas.model.network import NetworkConfig

    return NetworkConfig(
        latent_dim=3, channels=1, size=16, widths=(4, 8), blocks=0, norm="none", decoder="upsample",
        likelihood="gaussian",
    )  # fmt: skip


def poisoned(at_calls):
    """`Shards.evaluate` that spoils a gradient at some of its training calls (counted from 1)."""
    original, count = fit_module.Shards.evaluate, 0

    def evaluate_poisoned(self, x, mask, noise, *, rate_weight=None, jitter=None, **others):
        nonlocal count
        found = original(self, x, mask, noise, rate_weight=rate_weight, jitter=jitter, **others)
        if rate_weight is not None:
            count += 1
            if count in at_calls:
                found.gradients[0] = math.nan
                found = found._replace(norm=found.gradients.norm())
        return found

    return evaluate_poisoned


def test_a_loss_that_is_not_finite_rolls_back_and_halves_the_learning_rate(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(fit_module.Shards, "evaluate", poisoned({6, 9}))
    steps = []
    _, history = train(tmp_path, on_step=steps.append)
    assert len(steps) == 12
    assert steps[-1].learning_rate / learning_rate_at(4.0, TrainConfig(epochs=4, learning_rate=3e-3)) == 0.25
    record = json.loads((tmp_path / "training.json").read_text())
    assert (record["rollbacks"], record["learning_rate_scale"]) == (2, 0.25)
    assert caplog.text.count("learning rate halved") == 2
    assert history.drop(columns=CLOCKS).notna().all(axis=None)


def test_training_stops_after_three_rollbacks_and_names_the_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(fit_module.Shards, "evaluate", poisoned(set(range(5, 100))))
    with pytest.raises(TrainingError, match=r"at step 5 \(epoch 2\).*img\d+, img\d+.* and 32 more") as caught:
        train(tmp_path)
    assert "--learning-rate 0.0003" in caught.value.hint


class Clock:
    """Stands for the module `time`: it stands still but for a millisecond each time somebody looks."""

    now = 0.0

    def perf_counter(self):
        self.now += 0.001
        return self.now

    monotonic = perf_counter


def test_waiting_for_images_is_counted_and_a_long_wait_is_told(tmp_path, monkeypatch, caplog):
    original, clock = fit_module.Tiles.batches, Clock()

    def slow(self, *args, **settings):
        for batch in original(self, *args, **settings):
            clock.now += 1.0 * (self.sampler == "whole")
            yield batch

    monkeypatch.setattr(fit_module.Tiles, "batches", slow)
    monkeypatch.setattr(fit_module, "time", clock)
    _, history = train(tmp_path, epochs=2)
    assert (history["data_wait"] > 0.25).all() and (history["data_wait"] < 1).all()
    assert caplog.text.count("of the time waiting for images") == 2


def test_long_gradients_are_shortened_to_a_multiple_of_the_median(tmp_path, monkeypatch):
    original, lengths = fit_module._Training._clip, []

    def spying(self, gradients, norm):
        original(self, gradients, norm)
        lengths.append((norm, float(gradients.norm())))

    monkeypatch.setattr(fit_module._Training, "_clip", spying)
    train(tmp_path, clip_norm=1.0)
    for place, (before, after) in enumerate(lengths):
        limit = np.median([norm for norm, _ in lengths[:place]]) if place else math.inf
        assert after == pytest.approx(min(before, limit), rel=1e-5)
    assert any(after < before / 1.01 for before, after in lengths)


def test_learning_rate_rises_then_falls_along_a_cosine():
    config = TrainConfig(epochs=101, warmup_epochs=1.0, learning_rate=1e-3)
    assert learning_rate_at(0.5, config) == pytest.approx(5e-4)
    assert learning_rate_at(1.0, config) == pytest.approx(1e-3)
    assert learning_rate_at(51.0, config) == pytest.approx(1e-3 * (0.01 + 0.99 / 2))
    assert learning_rate_at(101.0, config) == pytest.approx(1e-5)
    short = dataclasses.replace(config, epochs=4, warmup_epochs=10.0)
    assert learning_rate_at(0.25, short) == pytest.approx(5e-4), "half way through an eighth of 4 epochs"
    assert learning_rate_at(0.5, short) == pytest.approx(1e-3)


def test_steps_tell_progress(tmp_path):
    steps = []
    train(tmp_path, on_step=steps.append)
    assert [step.epoch for step in steps] == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert {step.n_steps for step in steps} == {12}
    assert steps[-1].seconds_left == pytest.approx(0, abs=1e-6)
    assert all(step.elbo_nats == -step.distortion_nats - step.rate_nats for step in steps)
    assert all(step.images_per_s > 0 and 0 <= step.active_dims <= step.n_dims == 3 for step in steps)


@pytest.fixture
def evaluations(monkeypatch):
    """What each step asks of the shards and gets from them, evaluations of a part left out: jitter and answer."""
    original, steps = fit_module.Shards.evaluate, []

    def listening(self, x, mask, noise, *, rate_weight=None, jitter=None, **others):
        found = original(self, x, mask, noise, rate_weight=rate_weight, jitter=jitter, **others)
        steps.extend([] if rate_weight is None else [(jitter, found)])
        return found

    monkeypatch.setattr(fit_module.Shards, "evaluate", listening)
    return steps


def test_history_holds_the_means_of_each_epoch_over_its_own_images(tmp_path, evaluations):
    _, history = train(tmp_path, epochs=3, precision="float32")
    for name in ("distortion", "rate"):
        values = np.concatenate([getattr(found, name).numpy() for _, found in evaluations]).reshape(3, 100)
        np.testing.assert_allclose(history[f"train_{name}_nats"], values.mean(axis=1), rtol=1e-5)


@pytest.mark.parametrize(("sampler", "jitter", "is_moved"), [("whole", 0.1, 1), ("whole", 0, 0), ("by_pixel", 0.1, 0)])
def test_whole_images_are_moved_and_tiles_are_not(tmp_path, evaluations, sampler, jitter, is_moved):
    train(tmp_path, epochs=1, sampler=sampler, jitter=jitter, precision="float32")
    assert evaluations
    assert all((moves is not None) == bool(is_moved) for moves, _ in evaluations)


def test_gaussian_noise_follows_the_residuals_and_bernoulli_has_none(tmp_path, evaluations):
    network, _ = train(tmp_path / "gaussian", likelihood="gaussian", precision="float32")
    residuals = [float(squared / n_values) for _, found in evaluations for squared, n_values in [found.residuals]]
    assert min(residuals) <= math.exp(float(network.likelihood.log_noise_var)) <= max(residuals)
    network, _ = train(tmp_path / "bernoulli", likelihood="bernoulli", precision="float32")
    assert float(network.likelihood.log_noise_var) == 0


OVERFITTING = {"epochs": 24, "batch_size": 4, "learning_rate": 2e-2, "optimizer": "adam", "ema_decay": 0.0}


def test_training_ends_without_a_gain_and_goes_on_to_the_same_bytes_when_asked(tmp_path):
    """Eight images are learned by heart while validation gets worse."""
    few = blobs(8, seed=1)
    _, history = train(tmp_path / "run", x=few, patience=4, **OVERFITTING)
    objective = history["validation_objective_nats"].to_numpy()
    record = json.loads((tmp_path / "run" / "training.json").read_text())
    assert len(history) == record["best_epoch"] + 4 < 24
    assert int(objective.argmin()) + 1 == record["best_epoch"]
    assert (record["state"], record["stopped"]) == ("complete", "no gain on validation for 4 epochs")
    _, same = train(tmp_path / "run", x=few, patience=4, **OVERFITTING)
    assert len(same) == len(history)
    train(tmp_path / "run", x=few, patience=0, **OVERFITTING)
    train(tmp_path / "undisturbed", x=few, patience=0, **OVERFITTING)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "undisturbed")
    record = json.loads((tmp_path / "run" / "training.json").read_text())
    assert (record["epochs"], record["stopped"]) == (24, "")


def test_a_training_of_0_1_0_goes_on_by_its_own_optimizer_alone(tmp_path):
    """Its checkpoints know neither Muon nor a mean of the weights."""
    old = {"optimizer": "adam", "ema_decay": 0.0}
    done = []
    train(tmp_path / "run", on_step=done.append, stop_requested=lambda: len(done) == 4, **old)
    path = max((tmp_path / "run" / "checkpoints").iterdir())
    tensors = safetensors.torch.load_file(path / "optimizer.safetensors")
    kept = {name: value for name, value in tensors.items() if not name.endswith(":average")}
    assert len(kept) < len(tensors)
    safetensors.torch.save_file(kept, path / "optimizer.safetensors")
    record = json.loads((path / "state.json").read_text())
    del record["settings"]["train"]["optimizer"], record["settings"]["train"]["ema_decay"]
    del record["settings"]["network"]["linear_path"], record["settings"]["network"]["prior"]
    record["sha256"]["optimizer.safetensors"] = files.sha256(path / "optimizer.safetensors")
    (path / "state.json").write_text(json.dumps(record))
    before = files.sha256(tmp_path / "run" / "weights.safetensors")
    with pytest.raises(UsageError, match=r"train\.optimizer: adam -> muon; train\.ema_decay: 0\.0 -> 0\.998"):
        train(tmp_path / "run")
    assert files.sha256(tmp_path / "run" / "weights.safetensors") == before
    train(tmp_path / "run", **old)
    train(tmp_path / "whole", **old)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
