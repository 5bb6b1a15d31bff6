"""A likelihood with heavy tails: Student's t, fitted to a histogram of the residuals.

Scale and degrees of freedom that all pixels share have no closed form, but few numbers decide them: how many residuals
there are of each size. So these are counted, and both are found by maximum likelihood for a batch (running estimates)
or for a whole split. Learned by gradients with the network, they would need thousands of steps to come near, and the
epoch would be chosen by where they happen to be.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from zatlas.model.likelihoods.base import NOISE_FLOOR_VAR, Likelihood, Residuals, Words, share_of_batch

__all__ = ["StudentT"]

_BINS = 256
_LOG_LOW, _LOG_HIGH = math.log(1e-5), math.log(1e2)  # sizes of residuals that are told apart
_WIDTH = (_LOG_HIGH - _LOG_LOW) / _BINS
# Degrees of freedom that are tried: with 2 or fewer there is no variance, with 100 it is a gaussian to the eye.
_TRIED = (2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 11.0, 16.0, 24.0, 40.0, 100.0)
_ROUNDS = 15  # of the fit of a scale


class StudentT(Likelihood):
    """Student's t around the mean, with one scale and one number of degrees of freedom for all pixels and images.

    Few large residuals (edges, wires, specks) move its scale less than they move a gaussian variance.

    Attributes:
        log_noise_var: Log of the squared scale s^2, a running estimate.
        log_df: Log of the degrees of freedom, a running estimate, from 2.5 to 100.

    Source: Lange, Little & Taylor 1989, https://doi.org/10.1080/01621459.1989.10478852
    """

    name = "student_t"
    words = Words(
        name="Student's t with one shared, optimal scale and shape",
        loss="negative log-likelihood of Student's t with one shared, optimal scale and shape",
        meaning=(
            "Student's t with one shared, optimal scale and shape is a likelihood of grey values whose few large "
            "errors cost less than by a gaussian, and the balance of rate and distortion follows from the data."
        ),
    )
    log_noise_var: Float[Tensor, ""]
    log_df: Float[Tensor, ""]
    tried: Float[Tensor, " t"]

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("log_noise_var", torch.zeros(()))
        self.register_buffer("log_df", torch.tensor(math.log(8.0)))
        self.register_buffer("tried", torch.tensor(_TRIED, dtype=torch.float64), persistent=False)

    def nll(
        self, params: Float[Tensor, "b p h w"], x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, " b"]:
        """(df + 1)/2 log(1 + r^2 / (df s^2)) + log s + log B(df/2, 1/2) + log(df)/2 for residuals r."""
        df = torch.exp(self.log_df)
        per_pixel = _nats((x - params).square(), self.log_noise_var, df)
        return (per_pixel * mask).sum(dim=(1, 2, 3))

    def mean(self, params: Float[Tensor, "b p h w"]) -> Float[Tensor, "b c h w"]:
        """The parameters themselves."""
        return params

    def sample(self, params: Float[Tensor, "b p h w"], generator: torch.Generator) -> Float[Tensor, "b c h w"]:
        """The mean with noise.

        Source: Bailey 1994, https://doi.org/10.1090/S0025-5718-1994-1219702-8
        """
        u, v = torch.rand((2, *params.shape), generator=generator, dtype=params.dtype).to(params.device)
        df = torch.exp(self.log_df)
        length = torch.sqrt(df * torch.expm1(-2 / df * torch.log(1 - u)))
        return params + torch.exp(0.5 * self.log_noise_var) * length * torch.cos(2 * math.pi * v)

    def implied_variance(self, params: Float[Tensor, "b p h w"]) -> Float[Tensor, "b c h w"]:
        """s^2 df / (df - 2)."""
        df = torch.exp(self.log_df)
        return (torch.exp(self.log_noise_var) * df / (df - 2)).expand_as(params)

    def residuals(
        self, params: Float[Tensor, "b p h w"], x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]
    ) -> Residuals:
        """How many residuals there are of each size, in steps of 6 %."""
        size = torch.log((x - params).abs().clamp(min=math.exp(_LOG_LOW)))
        bins = ((size - _LOG_LOW) / _WIDTH).long().clamp(0, _BINS - 1)
        counts = mask.new_zeros(_BINS)  # torch.bincount would ask a device for the largest bin, and wait
        return (counts.scatter_add_(0, bins.flatten(), mask.expand_as(x).flatten()),)

    @torch.no_grad()
    def observe(self, residuals: Residuals, *, step: int) -> None:
        """Move scale and degrees of freedom towards those of the batch, by their logarithms."""
        share = share_of_batch(step)
        for buffer, found in zip((self.log_noise_var, self.log_df), _fitted(residuals[0], self.tried)[:2], strict=True):
            buffer.copy_((1 - share) * buffer + (share * found).to(buffer))

    @torch.no_grad()
    def calibrate(self, residuals: Residuals) -> float:
        """Scale and degrees of freedom become those under which the residuals of the split are likeliest.

        Returns:
            The nats of these residuals, each taken at the middle of its step [nats].
        """
        log_var, log_df, nats = _fitted(residuals[0], self.tried)
        self.log_noise_var.copy_(log_var)
        self.log_df.copy_(log_df)
        return float(nats)


def _nats(square: Float[Tensor, "*s"], log_var: Float[Tensor, "*t"], df: Float[Tensor, "*u"]) -> Tensor:
    """Nats of squared residuals, without the mask."""
    constant = torch.lgamma(df / 2) - torch.lgamma((df + 1) / 2) + 0.5 * torch.log(math.pi * df)
    return 0.5 * (df + 1) * torch.log1p(square * torch.exp(-log_var) / df) + 0.5 * log_var + constant


def _fitted(
    counts: Float[Tensor, " k"], tried: Float[Tensor, " t"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, ""]]:
    """Log of the squared scale, log of the degrees of freedom and nats of the likeliest t for a histogram of residuals.

    For each number of degrees of freedom in `tried`, the scale by a faster form of the EM algorithm: a mean of
    squares in which large ones count less. Nothing is fetched from the device that holds the histogram.

    Source: Kent, Tyler & Vardi 1994, https://doi.org/10.1080/03610919408813180
    """
    counts = counts.double()
    middles = _LOG_LOW + _WIDTH * (torch.arange(_BINS, dtype=counts.dtype, device=counts.device) + 0.5)
    square = torch.exp(2 * middles)
    df = tried[:, None]
    variance = ((counts * square).sum() / counts.sum().clamp(min=1)).clamp(min=NOISE_FLOOR_VAR) * (df - 2) / df
    for _ in range(_ROUNDS):
        weights = counts / (df + square / variance)
        variance = ((weights * square).sum(1, keepdim=True) / weights.sum(1, keepdim=True).clamp(min=1e-12)).clamp(
            min=NOISE_FLOOR_VAR
        )
    nats = (counts * _nats(square, torch.log(variance), df)).sum(1)
    found = torch.stack([torch.log(variance[:, 0]), torch.log(tried), nats])
    log_var, log_df, least = found.index_select(1, nats.argmin(keepdim=True))[:, 0]
    return log_var, log_df, least
