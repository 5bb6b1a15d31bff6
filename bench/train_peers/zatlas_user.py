"""zatlas by its Python API, with the allocator's thresholds raised as its command line does.

Its learning rate falls along a cosine, which cannot be switched off: a training of a hundred times the epochs is
planned, and stopped after those that are wanted, so that the rate has fallen by less than a thousandth. Muon, the mean
of the weights, weight decay, the linear path, jitter and warm-up are off. It needs validation images: 16 of the
training images, so that no image is lost.

With the settings "own" it trains its default network by its default settings, and chooses the epoch by the validation
images; with "own, no path" it does not begin at principal components; "0.1.0" are those of version 0.1.0, by today's
code.

Between two epochs it evaluates the validation images, writes its history and keeps the weights of the best epoch; that
counts in its time. The weights that are kept are those that are judged.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
from common import Clock, Task, read_task, report, test_loss

import zatlas as za
from zatlas.config import ModelConfig, TrainConfig
from zatlas.training.devices import raise_allocator_thresholds

_PLANNED = 100  # times the epochs that are run


def settings_of(task: Task) -> tuple[ModelConfig, TrainConfig]:
    """Network and training that the task asks for."""
    epochs = task.planned_epochs or task.epochs
    plain = {"optimizer": "adam", "ema_decay": 0.0, "weight_decay": 0.0, "patience": 0}
    if task.settings in ("own", "own, no path"):
        return ModelConfig(linear_path="auto" if task.settings == "own" else "off"), TrainConfig(epochs=epochs)
    if task.settings == "0.1.0":
        return ModelConfig(widths=(32, 64, 128, 256), linear_path="off"), TrainConfig(epochs=epochs, **plain)
    model = ModelConfig(
        widths=task.widths, norm=task.norm, decoder="transposed", likelihood="bernoulli", linear_path="off"
    )
    training = TrainConfig(
        epochs=_PLANNED * task.epochs, batch_size=task.batch_size, learning_rate=task.learning_rate,
        warmup_epochs=0.0, kl_warmup_epochs=0.0, jitter=0.0, precision=task.precision or "auto", **plain,
    )  # fmt: skip
    return model, training


class Kept:
    """The weights that a training has kept so far, as whoever stops it would find them."""

    def __init__(self, run: Path) -> None:
        self._run, self._network, self.epochs_done, self._loaded = run, None, 0, -1

    def shown(self, x: np.ndarray) -> np.ndarray:
        """Reconstructions from z = mean."""
        if self._loaded != self.epochs_done:
            self._network, self._loaded = za.load(self._run).network, self.epochs_done
        with torch.inference_mode():
            return self._network.x_hat(self._network.encode(torch.from_numpy(x)).mean).numpy()


def tiles_of(path: str, task: Task, *, sampler: str) -> za.Tiles:
    """All images of an NPY file, greys from 0 to 255 as 0 to 1."""
    scaling = za.Scaling("minmax", 0, 255)
    return za.Tiles(za.open_images(path), size=task.size, sampler=sampler, seed=task.seed, scaling=scaling)


def main() -> None:
    task, clock = read_task(sets_allocator=False), Clock()
    if task.allocator:
        raise_allocator_thresholds()
    run = Path(task.folder) / "run"
    tiles, kept = tiles_of(task.train, task, sampler="whole"), Kept(run)
    judges = tiles_of(task.validation if task.settings else task.train, task, sampler="grid")
    validation = judges if task.settings else judges.subset(np.arange(min(16, len(judges))))
    model, settings = settings_of(task)
    vae = za.VAE.from_model(model, task.latent_dim, seed=task.seed)

    def on_epoch(row: dict[str, float]) -> None:
        kept.epochs_done = int(row["epoch"])
        clock.epoch_ended()

    clock.watch(task, kept.shown)
    vae.fit(
        tiles, validation=validation, train=settings, run=run, on_epoch=on_epoch,
        stop_requested=lambda: kept.epochs_done >= task.epochs,
    )  # fmt: skip

    def passed(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        posterior = vae.network.encode(torch.from_numpy(x))
        return vae.network.decode(posterior.mean).numpy(), posterior.mean.numpy(), posterior.log_var.numpy()

    record = json.loads((run / "training.json").read_text())
    with torch.inference_mode():  # the parameters of another likelihood are no logits
        loss = math.nan if task.settings else test_loss(task, passed)
    report(
        task, clock, loss=loss, threads=record["choices"]["threads"]["value"],
        parameters=sum(p.numel() for p in vae.network.parameters()), libraries=["zatlas", "torch"],
        more={"precision": record["choices"]["precision"]["value"], "epoch_of_the_weights": record["best_epoch"]},
    )  # fmt: skip


if __name__ == "__main__":
    main()
