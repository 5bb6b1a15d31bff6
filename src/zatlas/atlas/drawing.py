"""Images of latents whose textures are drawn: each with a noise of its own."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zatlas.compute import in_shards
from zatlas.model.network import Network
from zatlas.randomness import torch_seed

__all__ = ["drawn_images"]


def drawn_images(network: Network, z: Float[np.ndarray, "n d"], *, seed: int) -> Float[Tensor, "n c h w"]:
    """Decoder means on the network's grey scale, with local latents drawn for each image by itself.

    Without local latents these are the images of `Network.x_hat`.

    Args:
        network: Of zatlas or of one's own.
        z: Latents.
        seed: Of the noise of local latents.
    """
    draw = torch.Generator().manual_seed(torch_seed(seed, "texture of samples", 0))
    noise = torch.randn((len(z), network.n_local), generator=draw)
    both = torch.cat([torch.from_numpy(np.ascontiguousarray(z, np.float32)), noise], dim=1).to(network.device)
    d = z.shape[1]

    def decoded(part: Tensor) -> Tensor:
        return network.likelihood.mean(network.decode_with(part[:, :d], part[:, d:]))

    return torch.cat(in_shards(decoded, both)).detach().float().cpu()
