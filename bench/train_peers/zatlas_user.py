"""zatlas by its Python API, with the allocator's thresholds raised as its command line does.

Its learning rate falls along a cosine, which cannot be switched off: a training of a hundred times the epochs is
begun, and stopped after those that are wanted, so that the rate has fallen by less than a thousandth. `fit` keeps the
weights of the best epoch by validation, so it is stopped after the first step of the next epoch, which costs a step.
It needs validation images: 16 of the training images, so that no image is lost; their evaluation, the history and the
saved weights count in its time. Jitter and warm-up are off. With `own` it trains its default network by its default
settings, so many epochs as are wanted.
"""

import json
import math
from pathlib import Path

import torch
from common import Clock, read_task, report, test_loss

import zatlas as za
from zatlas.config import ModelConfig, TrainConfig
from zatlas.progress import Step
from zatlas.training.devices import raise_allocator_thresholds

_PLANNED = 100  # times the epochs that are run

task, clock = read_task(sets_allocator=False), Clock()
if task.allocator:
    raise_allocator_thresholds()
epoch_now = 1


def on_step(step: Step) -> None:
    global epoch_now
    epoch_now = step.epoch
    if step.step % steps_per_epoch == 0:
        clock.epoch_ended()


def passed(x):
    posterior = vae.network.encode(torch.from_numpy(x))
    return vae.network.decode(posterior.mean).numpy(), posterior.mean.numpy(), posterior.log_var.numpy()


def shown(x):
    with torch.inference_mode():
        return vae.network.x_hat(vae.network.encode(torch.from_numpy(x)).mean).numpy()


images = za.open_images(task.train)
scaling = za.Scaling("minmax", 0, 255)
tiles = za.Tiles(images, size=task.size, sampler="whole", seed=task.seed, scaling=scaling)
some = za.Tiles(images.select(range(16)), size=task.size, sampler="grid", scaling=scaling)

model = ModelConfig(widths=task.widths, norm=task.norm, decoder="transposed", likelihood="bernoulli")
settings = TrainConfig(
    epochs=_PLANNED * task.epochs, batch_size=task.batch_size, learning_rate=task.learning_rate,
    warmup_epochs=0, kl_warmup_epochs=0, jitter=0, precision=task.precision or "auto",
)  # fmt: skip
if task.own:
    model, settings = ModelConfig(), TrainConfig(epochs=task.epochs)
vae = za.VAE.from_model(model, task.latent_dim, seed=task.seed)
steps_per_epoch = -(-len(tiles) // settings.batch_size)
clock.watch(task, shown)
vae.fit(
    tiles, validation=some, train=settings, run=Path(task.folder) / "run",
    on_step=on_step, stop_requested=lambda: epoch_now > task.epochs,
)  # fmt: skip

record = json.loads((Path(task.folder) / "run" / "training.json").read_text())
with torch.inference_mode():  # the parameters of another likelihood are no logits
    loss = math.nan if task.own else test_loss(task, passed)
report(
    task, clock, loss=loss, threads=record["choices"]["threads"]["value"],
    parameters=sum(p.numel() for p in vae.network.parameters()), libraries=["zatlas", "torch"],
    more={"precision": record["choices"]["precision"]["value"], "epoch_of_the_weights": record["best_epoch"]},
)  # fmt: skip
