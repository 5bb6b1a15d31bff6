"""A likelihood and networks as people outside zatlas would write them; nothing here is known to the package."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Laplace as LaplaceDistribution

from zatlas.images.collection import Collection
from zatlas.images.source import ArraySource
from zatlas.model.likelihoods import Likelihood
from zatlas.tiles.loader import Tiles
from zatlas.tiles.transforms import Scaling


def blobs(n, seed):
    """Images (n, 1, 16, 16) of one soft disc each, of greys from 0 to 1."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :16]
    centre, radius = rng.uniform(4, 12, (n, 2, 1, 1)), rng.uniform(2, 4, (n, 1, 1))
    return (1 / (1 + np.exp(np.hypot(y - centre[:, 0], x - centre[:, 1]) - radius)))[:, None].astype(np.float32)


def tiles_of(n, seed, sampler="grid", kind="minmax"):
    """Blobs as tiles."""
    table = pd.DataFrame({"image": [f"img{i:03d}" for i in range(n)], "group": ""})
    table = table.assign(height=16, width=16, channels=1, dtype="float32")
    images = Collection(table=table, sources=tuple(map(ArraySource, blobs(n, seed))), path=Path("blobs"))
    scaling = Scaling("minmax", 0.0, 1.0) if kind == "minmax" else Scaling(kind, 0.2, 0.3)
    return Tiles(images, size=16, sampler=sampler, scaling=scaling)


class Laplace(Likelihood):
    """|x - mean| / scale + log(2 scale); mean and log of the scale of each pixel come from the decoder."""

    name = "laplace"
    n_params = 2

    def nll(self, params, x, mask):
        mean, log_scale = self._parts(params)
        per_pixel = (x - mean).abs() * torch.exp(-log_scale) + log_scale + math.log(2)
        return (per_pixel * mask).sum(dim=(1, 2, 3))

    def mean(self, params):
        return self._parts(params)[0]

    def sample(self, params, generator):
        mean, log_scale = self._parts(params)
        u = torch.rand(mean.shape, generator=generator) - 0.5
        return mean - torch.exp(log_scale) * u.sign() * torch.log1p(-2 * u.abs())

    def implied_variance(self, params):
        return 2 * torch.exp(2 * self._parts(params)[1])

    @staticmethod
    def _parts(params):
        mean, log_scale = params.chunk(2, dim=1)
        return mean, log_scale.clamp(-6, 3)

    def distribution(self, params):
        mean, log_scale = self._parts(params)
        return LaplaceDistribution(mean, torch.exp(log_scale))


class SharedLaplace(Laplace):
    """The same with one scale for all pixels, learned by gradients."""

    name = "shared laplace"
    n_params = 1

    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))

    def _parts(self, params):
        return params, self.log_scale.expand_as(params)


class Block(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.first, self.second = nn.Conv2d(before, after, 3, 2, 1), nn.Conv2d(after, after, 3, 1, 1)
        self.short, self.norm = nn.Conv2d(before, after, 1, 2), nn.GroupNorm(2, after)

    def forward(self, x):
        return F.relu(self.short(x) + self.second(F.relu(self.norm(self.first(x)))))


class Residual(nn.Module):
    """A ResNet-like encoder and an MLP as decoder, for images of side 16."""

    def __init__(self, d=3, channels=1, n_params=1, likelihood=None):
        super().__init__()
        torch.manual_seed(0)
        self.shape = (n_params * channels, 16, 16)
        self.body = nn.Sequential(Block(channels, 4), Block(4, 8), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(32, 2 * d)
        self.mlp = nn.Sequential(nn.Linear(d, 24), nn.GELU(), nn.Linear(24, math.prod(self.shape)))
        if likelihood is not None:
            self.likelihood = likelihood

    def encode(self, x):
        mean, log_var = self.head(self.body(x)).chunk(2, dim=1)
        return mean, log_var.clamp(-8, 4)

    def decode(self, z):
        return self.mlp(z).unflatten(1, self.shape)


class Tied(nn.Module):
    """Linear, the decoder using the encoder's matrix under a second name, with a frozen and an unused parameter."""

    def __init__(self, d=3):
        super().__init__()
        torch.manual_seed(0)
        self.weight = nn.Parameter(0.1 * torch.randn(d, 256))
        self.again = self.weight
        self.spread = nn.Parameter(torch.zeros(1).expand(d))  # all its values are one number in memory
        self.centre = nn.Parameter(torch.full((256,), 0.3), requires_grad=False)
        self.idle = nn.Parameter(torch.ones(2))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def encode(self, x):
        return (x.flatten(1) - self.centre) @ self.weight.T, self.spread.expand(len(x), -1)

    def decode(self, z):
        return (z @ self.again + self.centre).reshape(-1, 1, 16, 16)
