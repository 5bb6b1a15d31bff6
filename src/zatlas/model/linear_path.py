"""A linear path beside the convolutions: principal components, which a network starts from and never falls far below.

Encoder: mean of the posterior = scores of PCA + what the convolutions add. Decoder: image = reconstruction of PCA +
what the convolutions add. The path is fixed; at the start the convolutions add nothing, so that an untrained network
gives back what PCA gives back. On tiles of tissue, whose statistics are much the same everywhere, that is hard to beat
(defaults.md).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["LinearDecoder", "LinearEncoder"]


class LinearEncoder(nn.Module):
    """Standardised scores of images on components, and the log-variances of their posterior.

    Args:
        n_values: Values of an image, c * h * w.
        latent_dim: Number of components d.

    Attributes:
        weight: (d, c * h * w).
        bias: (d,).
        log_var: (d,), the same for each image.
    """

    weight: Float[Tensor, "d p"]
    bias: Float[Tensor, " d"]
    log_var: Float[Tensor, " d"]

    def __init__(self, n_values: int, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(latent_dim, n_values))
        self.register_buffer("bias", torch.zeros(latent_dim))
        self.register_buffer("log_var", torch.zeros(latent_dim))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        return torch.addmm(self.bias, x.flatten(1).to(self.weight.dtype), self.weight.T)


class LinearDecoder(nn.Module):
    """Images from scores.

    Args:
        shape: (c, h, w) of the images.
        latent_dim: Number of components d.

    Attributes:
        weight: (d, c * h * w).
        bias: Mean image, (c * h * w,).
    """

    weight: Float[Tensor, "d p"]
    bias: Float[Tensor, " p"]

    def __init__(self, shape: tuple[int, int, int], latent_dim: int) -> None:
        super().__init__()
        self.shape = shape
        n_values = shape[0] * shape[1] * shape[2]
        self.register_buffer("weight", torch.zeros(latent_dim, n_values))
        self.register_buffer("bias", torch.zeros(n_values))

    def forward(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b c h w"]:
        return torch.addmm(self.bias, z.to(self.weight.dtype), self.weight).view(-1, *self.shape)
