"""Images of latents whose textures are drawn: each with a noise of its own, or all with that of a numbered draw."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zatlas.compute import in_shards
from zatlas.errors import UsageError
from zatlas.model.network import Network
from zatlas.randomness import MOST_DRAWS, page_normal, torch_seed

__all__ = ["drawn_images", "images_of_draw", "noise_of_draw"]


def drawn_images(network: Network, z: Float[np.ndarray, "n d"], *, seed: int) -> Float[Tensor, "n c h w"]:
    """Decoder means on the network's grey scale, with local latents drawn for each image by itself.

    Without local latents these are the images of `Network.x_hat`.

    Args:
        network: Of zatlas or of one's own.
        z: Latents.
        seed: Of the noise of local latents.
    """
    draw = torch.Generator().manual_seed(torch_seed(seed, "texture of samples", 0))
    return _drawn(network, z, torch.randn((len(z), network.n_local), generator=draw))


def images_of_draw(network: Network, z: Float[np.ndarray, "n d"], draw: int) -> Float[Tensor, "n c h w"]:
    """Decoder means on the network's grey scale, with the texture of a draw, the same one for all latents.

    Args:
        network: Of zatlas or of one's own; without local latents there is one draw.
        z: Latents.
        draw: Its number, from 1; 1 is the texture of `Network.decode`.
    """
    return _drawn(network, z, noise_of_draw(network, draw).expand(len(z), -1))


def noise_of_draw(network: Network, draw: int) -> Float[Tensor, " n"]:
    """The noise of local latents of a draw, that of the explorer's page: draw 1 is what the network keeps.

    Raises:
        UsageError: there is no draw of this number.
    """
    if not 1 <= draw <= MOST_DRAWS:
        raise UsageError(f"there is no draw {draw} of a texture", hint=f"draws are numbered from 1 to {MOST_DRAWS}")
    if draw == 1:
        return network.kept_noise.detach().float().cpu()
    return torch.from_numpy(page_normal("another texture", draw, network.n_local))


def _drawn(network: Network, z: Float[np.ndarray, "n d"], noise: Float[Tensor, "n l"]) -> Float[Tensor, "n c h w"]:
    both = torch.cat([torch.from_numpy(np.ascontiguousarray(z, np.float32)), noise], dim=1).to(network.device)
    d = z.shape[1]

    def decoded(part: Tensor) -> Tensor:
        return network.likelihood.mean(network.decode_with(part[:, :d], part[:, d:]))

    return torch.cat(in_shards(decoded, both)).detach().float().cpu()
