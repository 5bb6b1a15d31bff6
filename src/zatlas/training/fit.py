"""The training loop: epochs of batches, an evaluation after each epoch, checkpoints in between.

    run/weights.safetensors   the best epoch so far, by validation
    run/history.csv           one row per epoch
    run/checkpoints/          the last two states of the training
    run/training.json         state, best epoch, choices with reasons

Notable:
    - Every draw and all noise are functions of (seed, epoch, step), and a checkpoint holds the rest: a training that
      was killed and resumed ends with the same bytes as an undisturbed one.
    - It ends early when validation has gained nothing for `patience` epochs, and goes on when asked with more of it.
    - The best epoch is chosen on the validation part, by distortion + beta * rate at the noise that fits the residuals
      of that part best: the running noise of the last batches would decide more than the images do. The weights that
      are kept carry that noise; training goes on with its own. The test part is evaluated beside it and steers nothing.
    - What began at principal components is replaced by an epoch alone that also gives validation images back as well.
    - A loss or gradient that is not finite: the best weights so far come back, the learning rate is halved, the step
      is tried again; after three times training stops and names the images.
"""

import contextlib
import dataclasses
import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from zatlas import files
from zatlas.compute import one_thread_per_operator
from zatlas.config import TrainConfig, to_dict
from zatlas.errors import TrainingError, UsageError
from zatlas.model.likelihoods import Gaussian, Residuals
from zatlas.model.network import Network, load_weights
from zatlas.model.objective import active_dims, kl_weight
from zatlas.model.told import told_in
from zatlas.progress import Step
from zatlas.tiles.loader import Batch, Tiles
from zatlas.training import checkpoints, graphs
from zatlas.training.average import Average
from zatlas.training.devices import Devices, choose
from zatlas.training.evaluation import Evaluation, calibrated, evaluation, reconstruction_db
from zatlas.training.jitter import Moves, keyed_jitter
from zatlas.training.optimizer import Optimizer
from zatlas.training.pace import Pace
from zatlas.training.sending import batches_on
from zatlas.training.shards import Evaluated, Shards, keyed_noise

__all__ = ["fit", "learning_rate_at"]

log = logging.getLogger(__name__)

_MAX_ROLLBACKS = 3
_LAST_LEARNING_RATE = 0.01  # of the peak
_LONG_WAIT = 0.25  # share of an epoch spent waiting for images, above which the log warns
_NORMS_KEPT = 100  # steps over which the median norm of the gradient is taken


@dataclass
class _State:
    """Everything that a checkpoint must hold besides weights and optimizer. Epochs count from 0, those done."""

    epoch: int = 0
    index: int = 0  # images of this epoch done
    step: int = 0
    sum_distortion: float = 0.0
    sum_rate: float = 0.0
    epoch_seconds: float = 0.0
    wait_seconds: float = 0.0  # of this epoch, for images
    seconds: float = 0.0
    best_epoch: int = 0  # 0: the untrained network
    best_loss: float | None = None
    lowest_epoch: int = 0  # of the objective, kept or not: what patience counts from
    lowest_loss: float | None = None
    start_db: list[float] = field(default_factory=list)  # `reconstruction_db` of a start from principal components
    learning_rate_scale: float = 1.0
    rollbacks: int = 0
    norms: list[float] = field(default_factory=list)  # of the gradients of the last steps
    history: list[dict[str, Any]] = field(default_factory=list)


def fit(
    network: Network,
    train: Tiles,
    *,
    validation: Tiles,
    test: Tiles | None,
    config: TrainConfig,
    beta: float,
    seed: int,
    run: Path,
    start: Callable[[], None] | None = None,
    on_step: Callable[[Step], None] | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    stop_requested: Callable[[], bool] | None = None,
) -> pd.DataFrame:
    """Train `network`, or go on where `run` stopped.

    Args:
        network: With its initial weights; trained in place, and left at the last step (the best are in `run`).
        train: What the network learns from.
        validation: Fixed tiles that choose the best epoch.
        test: Fixed tiles evaluated each epoch, which steer nothing.
        config: How to train.
        beta: Weight of the rate.
        seed: From which noise derives.
        run: Folder for weights, history and checkpoints.
        start: Called when the training begins, not when it goes on: gives the network other initial weights.
        on_step: Called after each step.
        on_epoch: Called after each epoch with its row of the history, a dictionary; what is not known is None.
        stop_requested: Asked after each step; when it says yes, a checkpoint is written and training returns early,
            with state "interrupted" in training.json.

    Returns:
        The history, one row per epoch.

    Raises:
        UsageError: `run` holds checkpoints of other settings.
        TrainingError: loss or gradients were not finite, four times.
        WriteError: `run` cannot be written.
    """
    devices = choose(config, network.config, stored_precision=_stored_precision(run))
    with (
        one_thread_per_operator(),
        Shards(
            network,
            precision=devices.precision,
            threads=devices.threads,
            device=devices.device,
            graph=graphs.are_asked_for(),
        ) as shards,
    ):
        training = _Training(network, train, validation, test, config, beta, seed, run, devices, shards, start)
        if not training.resume():
            return training.history()
        while not training.is_over():
            for batch in training.batches():
                step = training.advance(batch)
                if on_step:
                    on_step(step)
                if stop_requested and stop_requested():
                    training.checkpoint()
                    training.record("interrupted")
                    return training.history()
                training.checkpoint_when_due()
            with training.average.in_place():
                row = training.finish_epoch()
            if on_epoch:
                on_epoch(row)
        training.checkpoint()
        training.record("complete")
        if training.state.best_epoch == 0 and training.state.best_loss is not None:
            also = ", by the bound and in PSNR," if training.state.start_db else ""
            log.warning(
                "no epoch was better on validation%s than the principal components that training began with", also
            )
        if training.stopped():
            log.info("stopped after epoch %d: %s", training.state.epoch, training.stopped())
        return training.history()


def learning_rate_at(epochs_done: float, config: TrainConfig) -> float:
    """Linear rise over the warm-up, then a cosine from the peak to a hundredth of it at the last epoch.

    Source: Loshchilov & Hutter 2017, equation 5, https://arxiv.org/abs/1608.03983
    """
    warmup = config.warmup
    if epochs_done < warmup:
        return config.learning_rate * (epochs_done / warmup)
    done = min(1.0, (epochs_done - warmup) / (config.epochs - warmup))
    fall = 0.5 * (1 + math.cos(math.pi * done))
    return config.learning_rate * (_LAST_LEARNING_RATE + (1 - _LAST_LEARNING_RATE) * fall)


class _Training:
    """One training in progress: what `fit` moves forward."""

    def __init__(
        self, network: Network, train: Tiles, validation: Tiles, test: Tiles | None, config: TrainConfig, beta: float,
        seed: int, run: Path, devices: Devices, shards: Shards, start: Callable[[], None] | None,
    ) -> None:  # fmt: skip
        self.start = start
        self.network, self.train, self.validation, self.test = network, train, validation, test
        self.config, self.beta, self.seed, self.run = config, beta, seed, run
        self.devices, self.shards = devices, shards
        self.pace = Pace(devices.threads, is_fixed=devices.is_threads_fixed, reason=devices.reasons["threads"])
        self.state = _State()
        self.optimizer = self._new_optimizer()
        self.average = Average(shards.weights, config.ema_decay)
        self.started = self.last_checkpoint = self.last_step = time.monotonic()
        self.epochs_at_start = 0.0
        self.counted_epoch = (-1, 0)

    def resume(self) -> bool:
        """Load the newest checkpoint, or begin; returns whether anything is left to do."""
        files.make_folder(self.run)
        files.remove_leftovers(self.run)
        parts = (self.optimizer, self.average)
        record = checkpoints.load_newest(
            self.run / "checkpoints", self.network, self.shards.weights, parts, self._refuse_other_settings
        )
        if record is None:
            self._begin()
        else:
            self.state = _State(
                **{one.name: record[one.name] for one in dataclasses.fields(_State) if one.name in record}
            )
            if "lowest_epoch" not in record:  # of a version that kept each epoch with the lowest objective
                self.state.lowest_epoch, self.state.lowest_loss = self.state.best_epoch, self.state.best_loss
            log.info("training goes on after step %d (epoch %d)", self.state.step, self.state.epoch + 1)
            is_older = any("validation_objective_nats" not in row for row in self.state.history)
            if is_older or not (self.run / "weights.safetensors").is_file():
                self.state.best_loss = None  # that of versions up to 0.1.0 was taken at the running noise
            if not (self.run / "weights.safetensors").is_file():
                self._save_best()
        self.epochs_at_start = self._epochs_done()
        if self.is_over():
            self.record("complete")
            return False
        self.record("running")
        return True

    def _begin(self) -> None:
        """The network as it is before the first step; one that was given a start is the first to beat."""
        residuals: Residuals = ()
        if self.start is not None:
            self.start()
            self.shards.weights.renew()
            self.average.restart()
            found, residuals = self._evaluate(self.validation)
            if not math.isfinite(found["elbo_nats"]):
                self._refuse_start()
            self.state.best_loss = self._objective(found)
            self.state.lowest_loss = self.state.best_loss
            if isinstance(self.network.likelihood, Gaussian) and self.beta <= 1:
                # Of other likelihoods, or with more weight on the rate, the best bound is not where errors are least.
                self.state.start_db = list(reconstruction_db(self.network, self.validation))
        self._save_best(residuals)

    def _refuse_start(self) -> None:
        """Say why a training cannot begin; there are no weights yet to go back to.

        Raises:
            TrainingError: always: images of the validation part hold values that are not finite, or its bound is not.
        """
        with contextlib.closing(self.validation.batches(0, self.config.batch_size)) as batches:
            for batch in batches:
                _refuse_broken(batch, self.validation)
        raise TrainingError(
            "the loss of the validation images is not a finite number before the first step, where training begins at "
            "principal components",
            hint="begin without them: --linear-path off",
        )

    def is_over(self) -> bool:
        """Whether all epochs are done, or validation has gained nothing for so long that more are not worth it."""
        return self.state.epoch >= self.config.epochs or bool(self.stopped())

    def stopped(self) -> str:
        """Why training ended before its last epoch; "" where it did not."""
        patience, epochs = self.config.patience, self.state.epoch
        if (
            not patience
            or not self._is_late(epochs)
            or epochs >= self.config.epochs
            or epochs - self.state.lowest_epoch < patience
        ):
            return ""
        return f"no gain on validation for {patience} epochs"

    def batches(self) -> Iterator[Batch]:
        """The rest of this epoch; the time for which training waits for images is counted."""
        device, epoch = self.shards.device, self.state.epoch
        batches = batches_on(device, self.train, epoch, self.config.batch_size, start=self.state.index)
        while True:
            begin = time.perf_counter()
            batch = next(batches, None)
            self.state.wait_seconds += time.perf_counter() - begin
            if batch is None:
                return
            yield batch

    def advance(self, batch: Batch) -> Step:
        """One step of the optimizer."""
        begin = time.perf_counter()
        state, n = self.state, len(batch.x)
        weight = self.beta * kl_weight(self._epochs_done(), warmup_epochs=self.config.kl_warmup)
        self.network.train_at(self._epochs_done() / self.config.epochs)
        noise, jitter = self._chance(n)
        told = told_in(self.network, self.train, batch.rows)
        epochs_after = state.epoch + (state.index + n) / self._epoch_images()
        found = self.shards.evaluate(batch.x, batch.mask, noise, rate_weight=weight, jitter=jitter, told=told)
        norm = _gradient_norm(found)
        while not math.isfinite(norm):
            self._roll_back(batch, self.train)
            found = self.shards.evaluate(batch.x, batch.mask, noise, rate_weight=weight, jitter=jitter, told=told)
            norm = _gradient_norm(found)
        self._clip(found.gradients, norm)
        learning_rate = learning_rate_at(epochs_after, self.config) * state.learning_rate_scale
        self._update(found, learning_rate)
        state.sum_distortion += float(found.distortion.double().sum())
        state.sum_rate += float(found.rate.double().sum())
        state.index += n
        state.step += 1
        if n == self.config.batch_size and self.pace.record(time.perf_counter() - begin):
            self.shards.resize(self.pace.threads)
        return self._describe(found, learning_rate)

    def _chance(self, n: int) -> tuple[torch.Tensor, Moves | None]:
        """Noise and jitter of this step. Tiles are not moved: they are cut anywhere as it is."""
        step, amount = self.state.step, self.config.jitter if self.train.sampler == "whole" else 0.0
        noise = keyed_noise(n, self.network.n_noise, seed=self.seed, stream="training noise", index=step)
        if amount == 0:
            return noise, None
        return noise, keyed_jitter(n, amount=amount, seed=self.seed, stream="jitter", index=step)

    def finish_epoch(self) -> dict[str, Any]:
        """Evaluate, write the history, keep the weights when they are the best so far; returns the row."""
        self._tick()
        state, n_trained = self.state, max(self.state.index, 1)
        images_per_s = n_trained / max(state.epoch_seconds, 1e-9)
        data_wait = state.wait_seconds / max(state.epoch_seconds, 1e-9)
        level = logging.WARNING if data_wait > _LONG_WAIT else logging.DEBUG
        log.log(level, "epoch %d: %.0f images/s, %.1f %% of the time waiting for images", state.epoch + 1, images_per_s,
                100 * data_wait)  # fmt: skip
        learning_rate = learning_rate_at(state.epoch + 1.0, self.config) * state.learning_rate_scale
        weight = kl_weight(state.epoch + 1.0, warmup_epochs=self.config.kl_warmup)
        found, residuals = self._evaluate(self.validation)
        while not math.isfinite(found["elbo_nats"]):
            self._roll_back(next(iter(self.validation.batches(0, self.config.batch_size))), self.validation)
            found, residuals = self._evaluate(self.validation)
        loss = self._objective(found)
        tested = self._evaluate(self.test).numbers if self.test is not None else {}
        train = {"distortion_nats": state.sum_distortion / n_trained, "rate_nats": state.sum_rate / n_trained}
        train["elbo_nats"] = -train["distortion_nats"] - train["rate_nats"]
        self._tick()
        row = {
            "epoch": state.epoch + 1, "step": state.step, "seconds": round(state.seconds, 3),
            "images_per_s": round(images_per_s, 1), "data_wait": round(data_wait, 4), "learning_rate": learning_rate,
            "kl_weight": weight, **_three("train", train), **_three("validation", found), **_three("test", tested),
            "validation_objective_nats": loss, "active_dims": found["active_dims"],
            **{f"validation_rate_{side}px_nats": found[f"rate_{side}px_nats"] for side in self.network.local_sides},
        }  # fmt: skip
        state.history.append(row)
        self._note_late()
        if state.lowest_loss is None or loss < state.lowest_loss:
            state.lowest_loss, state.lowest_epoch = loss, state.epoch + 1
        if state.best_loss is None or (loss < state.best_loss and self._is_never_below_start()):
            state.best_loss, state.best_epoch = loss, state.epoch + 1
            self._save_best(residuals)
        state.epoch, state.index = state.epoch + 1, 0
        state.sum_distortion = state.sum_rate = state.epoch_seconds = state.wait_seconds = 0.0
        table = self.history()
        files.write_csv(self.run / "history.csv", list(table.columns), table.itertuples(index=False))
        return dict(row)

    def _note_late(self) -> None:
        """Where a network learns something last, epochs before are no candidates once an epoch has it."""
        state = self.state
        if self.network.late_from and self._is_late(state.epoch + 1) and not self._is_late(state.epoch):
            state.best_loss = state.lowest_loss = None

    def _is_late(self, epochs_done: int) -> bool:
        return epochs_done > self.network.late_from * self.config.epochs

    def _is_never_below_start(self) -> bool:
        """Whether validation images come back as well as at a start from principal components, if there was one.

        The bound may rise a little where a network gives up some accuracy for rate, or by chance; what began at PCA
        shall not end below it.
        """
        if not self.state.start_db:
            return True
        now = reconstruction_db(self.network, self.validation)
        return all(db >= at_start for db, at_start in zip(now, self.state.start_db, strict=True))

    def history(self) -> pd.DataFrame:
        """One row per epoch done."""
        columns = [
            "epoch", "step", "seconds", "images_per_s", "data_wait", "learning_rate", "kl_weight",
            *(f"{part}_{name}_nats" for part in ("train", "validation", "test") for name in _QUANTITIES),
            "validation_objective_nats", "active_dims",
            *(f"validation_rate_{side}px_nats" for side in self.network.local_sides),
        ]  # fmt: skip
        return pd.DataFrame(self.state.history, columns=columns)

    def checkpoint_when_due(self) -> None:
        """Write a checkpoint when the last one is older than the interval."""
        if time.monotonic() - self.last_checkpoint >= 60 * self.config.checkpoint_minutes:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Write the whole state."""
        self._tick()
        record = {
            "schema_version": files.SCHEMA_VERSION,
            "settings": self._settings(),
            **dataclasses.asdict(self.state),
        }
        checkpoints.save(self.run / "checkpoints", self.network, (self.optimizer, self.average), record)
        self.last_checkpoint = time.monotonic()

    def record(self, status: str) -> None:
        """Write training.json."""
        self._tick()
        facts = {
            "schema_version": files.SCHEMA_VERSION, "state": status, "best_epoch": self.state.best_epoch,
            "epochs": self.state.epoch, "stopped": self.stopped() if status == "complete" else "",
            "steps": self.state.step, "seconds": round(self.state.seconds, 3),
            "rollbacks": self.state.rollbacks, "learning_rate_scale": self.state.learning_rate_scale,
            "start_db": self.state.start_db,
            "n_parameters": sum(parameter.numel() for parameter in self.network.parameters()),
            "choices": self._choices(), "settings": self._settings(),
        }  # fmt: skip
        files.write_json(self.run / "training.json", facts)

    def _choices(self) -> dict[str, dict[str, str | int]]:
        return {**self.devices.to_dict(), "threads": {"value": self.pace.threads, "reason": self.pace.reason}}

    def _update(self, found: Evaluated, learning_rate: float) -> None:
        weights = self.shards.weights
        self.optimizer.step(found.gradients, learning_rate)
        weights.renew()
        self.average.update(self.state.step)
        self.network.likelihood.observe(found.residuals, step=self.state.step)

    def _clip(self, gradients: torch.Tensor, norm: float) -> None:
        """Shorten a gradient that is `clip_norm` times longer than the median of the last steps."""
        norms = self.state.norms
        longest = self.config.clip_norm * float(np.median(norms)) if norms else math.inf
        if 0 < longest < norm:
            gradients.mul_(longest / norm)
        norms.append(norm)
        del norms[:-_NORMS_KEPT]

    def _roll_back(self, batch: Batch, tiles: Tiles) -> None:
        """Take the best weights so far, a fresh optimizer and half the learning rate.

        Raises:
            TrainingError: the images themselves hold values that are not finite, or this was done three times already.
        """
        state = self.state
        _refuse_broken(batch, tiles)
        if state.rollbacks >= _MAX_ROLLBACKS:
            raise TrainingError(
                f"the loss was not a finite number at step {state.step + 1} (epoch {state.epoch + 1}), although the "
                f"learning rate was halved {_MAX_ROLLBACKS} times; images of this batch: "
                f"{_names(tiles, batch, [True] * len(batch.x))}",
                hint=f"use a lower learning rate: --learning-rate {self.config.learning_rate / 10:g}",
            )
        state.rollbacks += 1
        state.learning_rate_scale /= 2
        load_weights(self.network, self.run / "weights.safetensors")
        self.shards.weights.renew()
        self.optimizer = self._new_optimizer()
        self.average.restart()
        log.warning(
            "the loss was not a finite number at step %d: back to the weights of epoch %d, learning rate halved",
            state.step + 1,
            state.best_epoch,
        )
        self.checkpoint()

    def _describe(self, found: Evaluated, learning_rate: float) -> Step:
        state, config = self.state, self.config
        self._tick()
        done = self._epochs_done()
        session = (time.monotonic() - self.started) / max(done - self.epochs_at_start, 1e-9)
        steps = math.ceil(self._epoch_images() / config.batch_size)
        left_here = steps - math.ceil(state.index / config.batch_size)
        distortion, rate = float(found.distortion.mean()), float(found.rate.mean())
        return Step(
            epoch=state.epoch + 1, epochs=config.epochs, step=state.step,
            n_steps=state.step + left_here + (config.epochs - state.epoch - 1) * steps,
            images_per_s=state.index / max(state.epoch_seconds, 1e-9), seconds_left=session * (config.epochs - done),
            distortion_nats=distortion, rate_nats=rate, elbo_nats=-distortion - rate,
            active_dims=active_dims(found.means), n_dims=self.network.config.latent_dim, learning_rate=learning_rate,
        )  # fmt: skip

    def _epoch_images(self) -> int:
        """Images in the present epoch; asked of the tiles once per epoch, because they may count their draws."""
        if self.counted_epoch[0] != self.state.epoch:
            self.counted_epoch = (self.state.epoch, self.train.epoch_length(self.state.epoch))
        return self.counted_epoch[1]

    def _epochs_done(self) -> float:
        return self.state.epoch + self.state.index / self._epoch_images()

    def _tick(self) -> None:
        """Add the time since the last call to the clocks that a checkpoint carries over."""
        now = time.monotonic()
        self.state.epoch_seconds += now - self.last_step
        self.state.seconds += now - self.last_step
        self.last_step = now

    def _evaluate(self, tiles: Tiles) -> Evaluation:
        return evaluation(self.shards, tiles, seed=self.seed)

    def _objective(self, found: dict[str, float]) -> float:
        """What chooses the epoch [nats]: at the full weight of the rate, also while training warms up."""
        return found["fitted_distortion_nats"] + self.beta * found["rate_nats"] + found.get("covariate_nats", 0.0)

    def _save_best(self, residuals: Residuals = ()) -> None:
        """Keep the weights, with the noise that fits these residuals of the validation part best.

        Residuals of images that the model learned from are smaller than those of new ones; those of the last batches
        are those of weights that have moved on. The validation part has neither fault, and its images chose the epoch
        already. For training nothing changes.
        """
        path = self.run / "weights.safetensors"
        with calibrated(self.network.likelihood, residuals), files.new_file(path) as temporary:
            self.network.save_weights(temporary)

    def _new_optimizer(self) -> Optimizer:
        return self.shards.optimizer(kind=self.config.optimizer, weight_decay=self.config.weight_decay)

    def _settings(self) -> dict[str, Any]:
        """What must be equal for a resumed training to be the same one; JSON types only."""
        train = {name: value for name, value in to_dict(self.config).items() if name not in _WITHOUT_EFFECT}
        settings = {
            "train": train, "network": self.network.record(), "beta": self.beta, "seed": self.seed,
            "n_images": len(self.train.images), "epoch_images": self.train.epoch_length(0), "bends": True,
        }  # fmt: skip
        plain: dict[str, Any] = json.loads(json.dumps(settings))
        return plain

    def _refuse_other_settings(self, record: dict[str, Any]) -> None:
        own = _flat(self._settings())
        stored = {**{k: v for k, v in _OF_0_1_0.items() if k in own}, **_flat(record["settings"])}
        changed = [f"{k}: {v} -> {own.get(k)}" for k, v in stored.items() if own.get(k) != v]
        if changed:
            raise UsageError(
                f"this training was begun with other settings ({'; '.join(changed)})",
                where=self.run.name,
                hint="use the same settings, or another folder for the new ones",
            )


_QUANTITIES = ("distortion", "rate", "elbo")
# What a training meant that was begun before these options were there.
_OF_0_1_0 = {
    "train.optimizer": "adam", "train.ema_decay": 0.0, "network.linear_path": "off", "network.prior": "standard",
    "network.texture": "off", "network.covariate": "", "network.consistency": 0.0,
}  # fmt: skip
# On what a resumed training gives; patience says when it ends, not where it goes.
_WITHOUT_EFFECT = ("threads", "checkpoint_minutes", "device", "deterministic", "patience")


def _stored_precision(run: Path) -> str:
    """The number format of a training that was begun in `run`; "" where there is none."""
    record = run / "training.json"
    if not (run / "checkpoints").is_dir() or not record.is_file():
        return ""
    return str(files.read_json(record).get("choices", {}).get("precision", {}).get("value", ""))


def _three(part: str, found: dict[str, float]) -> dict[str, float | None]:
    values = {f"{part}_{name}_nats": found.get(f"{name}_nats", math.nan) for name in _QUANTITIES}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _gradient_norm(found: Evaluated) -> float:
    """Length of the gradient; not finite when the gradient or the loss is not."""
    norm = float(found.norm)
    return norm if math.isfinite(float(found.distortion.sum() + found.rate.sum())) else math.nan


def _refuse_broken(batch: Batch, tiles: Tiles) -> None:
    """Name the images of a batch that hold values which are not finite numbers."""
    broken = [not bool(torch.isfinite(image).all()) for image in batch.x]
    if any(broken):
        raise TrainingError(
            f"{sum(broken)} images hold values that are not finite numbers: {_names(tiles, batch, broken)}",
            hint="leave these images out, or replace the values",
        )


def _names(tiles: Tiles, batch: Batch, chosen: list[bool]) -> str:
    """The images from which the chosen items of a batch were cut, the first eight by name."""
    rows = [int(row) for row, is_chosen in zip(batch.rows, chosen, strict=True) if is_chosen]
    names = list(dict.fromkeys(str(name) for name in tiles.images.table["image"].iloc[rows]))
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
