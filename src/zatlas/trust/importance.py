"""A tighter bound on the log-probability of images than the ELBO, by importance weighting; for several priors at once.

Decoding takes nearly all of the time, and is the same for every prior: k decodings of each image. So it is not a part
of the report; call it for some images.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zatlas.compute import one_thread_per_operator
from zatlas.model.network import Network
from zatlas.training.shards import keyed_noise

__all__ = ["importance_bound"]


def importance_bound(
    network: Network,
    x: Float[Tensor, "b c h w"],
    mask: Float[Tensor, "b 1 h w"],
    priors: Mapping[str, Callable[[Float[np.ndarray, "b d"]], Float[np.ndarray, " b"]]],
    *,
    k: int = 64,
    seed: int = 0,
) -> dict[str, Float[np.ndarray, " b"]]:
    """log of the mean over k draws z of q(z|x) of p(x|z) p(z) / q(z|x), for each image and prior [nats].

    With k = 1 it is the ELBO, estimated by one draw; it rises with k towards log p(x). All images are decoded at once,
    so give few.

    Args:
        network: In evaluation mode, on the processor.
        x: Images on the network's grey scale.
        mask: 1 at real pixels, 0 at padding.
        priors: Log-densities of latents by name, such as `zatlas.atlas.fitted_priors.FittedPrior.log_prob`.
        k: Draws.
        seed: Of the draws.

    Source: Burda et al. 2016, equation 8, https://arxiv.org/abs/1509.00519
    """
    logs: dict[str, list[np.ndarray]] = {name: [] for name in priors}
    with torch.inference_mode(), one_thread_per_operator():
        posterior = network.encode(x)
        b, d = posterior.mean.shape
        for draw in range(k):
            noise = keyed_noise(b, d, seed=seed, stream="importance noise", index=draw)
            z = posterior.draw(noise)
            log_x = -network.likelihood.nll(network.decode(z).float(), x, mask).double()
            log_q = -0.5 * (noise.square() + posterior.log_var + np.log(2 * np.pi)).double().sum(dim=1)
            rest, latents = (log_x - log_q).numpy(), z.double().numpy()
            for name, log_prob in priors.items():
                logs[name].append(rest + log_prob(latents))
    return {name: np.logaddexp.reduce(np.stack(rows), axis=0) - np.log(k) for name, rows in logs.items()}
