"""The network and the loss, as a user of torch writes them; the notebook, Lightning and pythae train this one."""

import numpy as np
import torch
import torch.nn.functional as F
from common import Task
from torch import nn

__all__ = ["VAE", "Decoder", "Encoder", "loss_of", "pass_through", "shown"]


class Encoder(nn.Module):
    """Strided convolutions, then one linear layer each to mean and log_var."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        layers = []
        for before, after in zip((1, *task.widths), task.widths, strict=False):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), *norm(task, after), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        n_features = task.widths[-1] * (task.size >> len(task.widths)) ** 2
        self.mean = nn.Linear(n_features, task.latent_dim)
        self.log_var = nn.Linear(n_features, task.latent_dim)

    def forward(self, x):
        features = self.convolutions(x)
        return self.mean(features), self.log_var(features)


class Decoder(nn.Module):
    """The encoder backwards; returns logits."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        side = task.size >> len(task.widths)
        layers = [nn.Linear(task.latent_dim, task.widths[-1] * side**2), nn.Unflatten(1, (-1, side, side))]
        layers += [*norm(task, task.widths[-1]), nn.ReLU()]
        for before, after in zip(task.widths[::-1], task.widths[-2::-1], strict=False):
            layers += [nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1)]
            layers += [*norm(task, after), nn.ReLU()]
        layers += [nn.ConvTranspose2d(task.widths[0], 1, 3, stride=2, padding=1, output_padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z):
        return self.layers(z)


def norm(task: Task, width: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(width)] if task.norm == "batch" else []


class VAE(nn.Module):
    def __init__(self, task: Task) -> None:
        super().__init__()
        self.encoder = Encoder(task)
        self.decoder = Decoder(task)

    def forward(self, x):
        mean, log_var = self.encoder(x)
        z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
        return self.decoder(z), mean, log_var


def loss_of(x, logits, mean, log_var):
    cross_entropy = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    kl = -0.5 * torch.sum(1 + log_var - mean.pow(2) - log_var.exp())
    return (cross_entropy + kl) / len(x)


@torch.no_grad()
def pass_through(encoder: nn.Module, decoder: nn.Module, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, mean and log_var at z = mean, for the test loss."""
    mean, log_var = encoder(torch.from_numpy(x))
    return decoder(mean).numpy(), mean.numpy(), log_var.numpy()


def shown(model: nn.Module, encoder: nn.Module, decoder: nn.Module, x: np.ndarray) -> np.ndarray:
    """Reconstructions from z = mean, by a model in training that is left as it was."""
    is_training = model.training
    model.eval()
    logits, _, _ = pass_through(encoder, decoder, x)
    model.train(is_training)
    return 1 / (1 + np.exp(-logits))
