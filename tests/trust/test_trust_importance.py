"""The importance-weighted bound against the exact evidence of a linear model."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import nn

from zatlas.atlas.fitted_priors import of_model
from zatlas.model.likelihoods import Gaussian
from zatlas.model.network import Network, Posterior, Shape
from zatlas.model.priors import StandardNormal
from zatlas.trust.importance import importance_bound

VARIANCE = 0.3
W = torch.linalg.qr(torch.randn((4, 2), generator=torch.Generator().manual_seed(0))).Q * torch.tensor([2.0, 1.0])


class Exact(nn.Module):
    """The posterior of x = W z + noise, whose columns are orthogonal; `wide` times its deviation."""

    def __init__(self, wide=1.0):
        super().__init__()
        self.wide = wide

    def forward(self, x):
        precision = 1 + W.square().sum(dim=0) / VARIANCE
        mean = x.flatten(1) @ W / VARIANCE / precision
        return Posterior(mean, (2 * math.log(self.wide) - torch.log(precision)).expand_as(mean))


class Linear(nn.Module):
    def forward(self, z):
        return (z @ W.T).view(-1, 1, 2, 2)


def bound(wide, k, seed=0, shift=0.0):
    likelihood = Gaussian()
    likelihood.log_noise_var.fill_(math.log(VARIANCE))
    network = Network(Exact(wide), Linear(), likelihood, StandardNormal(), Shape(latent_dim=2, channels=1, size=2))
    standard = of_model(network.prior, 2).log_prob
    found = importance_bound(
        network, X, torch.ones_like(X), {"standard": standard, "less": lambda z: standard(z) - shift}, k=k, seed=seed
    )
    return found["standard"], found["less"]


X = torch.randn((50, 1, 2, 2), generator=torch.Generator().manual_seed(1))
EVIDENCE = multivariate_normal(np.zeros(4), (W @ W.T + VARIANCE * torch.eye(4)).numpy()).logpdf(X.flatten(1).numpy())


@pytest.mark.parametrize("k", [1, 5])
def test_with_the_exact_posterior_it_is_the_evidence(k):
    found, less = bound(1.0, k, shift=2.5)
    np.testing.assert_allclose(found, EVIDENCE, atol=1e-4)
    np.testing.assert_allclose(less, EVIDENCE - 2.5, atol=1e-4)


def test_with_another_posterior_it_rises_with_the_draws_towards_the_evidence():
    means = [float(bound(1.8, k)[0].mean()) for k in (1, 8, 256)]
    assert means[0] + 0.2 < means[1] < means[2]
    assert means[2] == pytest.approx(float(EVIDENCE.mean()), abs=0.05)
    elbo = EVIDENCE.mean() - 2 * (0.5 * (1.8**2 - 1) - math.log(1.8))  # minus the divergence of the two posteriors
    many = np.mean([bound(1.8, 1, seed)[0].mean() for seed in range(40)])
    assert many == pytest.approx(float(elbo), abs=0.1)
