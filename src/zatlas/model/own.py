"""Networks that were written elsewhere: any torch module with `encode(x)` and `decode(z)` as a `Network`.

    encode(x)    images (b, c, h, w) on the grey scale of the tiles -> (mean, log_var), each (b, d)
    decode(z)    latents (b, d) -> the numbers that the likelihood takes, (b, n_params * c, h, w)

A module is always given as an object: no name of one is ever read from a file. It is copied, tried once on two images,
and refused in a sentence where it does not fit. Batches are computed in shards, several at a time, and a training must
be resumable to the same bytes: so latents may depend on the image alone, not on those beside it nor on chance.
"""

import copy
from collections.abc import Callable
from typing import Any, Protocol, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zatlas.config import LayersConfig, to_dict
from zatlas.errors import UsageError
from zatlas.model.likelihoods import Likelihood, likelihood
from zatlas.model.network import Network, Shape
from zatlas.model.priors import Posterior, StandardNormal, new_prior

__all__ = ["OwnNetwork", "own_network", "try_likelihood_of"]

_INSIDE = ("encoder.module.", "decoder.module.")
_TRIED = 2  # images
_SAME = 1e-3  # share of the largest latent by which those of one image may differ between batches
_PAGE = "read how-to/use_your_own_network in the documentation"
# What code that does not fit the images raises; errors of other kinds are its own.
_MISFITS = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError)


class OwnNetwork(Network):
    """A module made elsewhere, with a likelihood and a prior.

    Its weights are stored under the module's own names, so that it can load them itself; numbers of a likelihood that
    is not a part of the module are stored under `likelihood.`.

    Args:
        module: With `encode` and `decode`.
        likelihood: What decode's numbers mean.
        config: Latent size, channels and side of the images.
        prior: Name of the prior, in `zatlas.model.priors.PRIORS`.
        seed: Of the prior's first parameters.
    """

    def __init__(
        self, module: nn.Module, likelihood: Likelihood, config: Shape, prior: str = StandardNormal.name, seed: int = 0
    ) -> None:
        super().__init__(_Encode(module), _Decode(module), likelihood, StandardNormal(), config)
        d, channels, size = config.latent_dim, config.channels, config.size
        chance = torch.Generator().manual_seed(seed)
        self.prior = new_prior(prior, self.encoder, d=d, channels=channels, size=size, generator=chance)

    @property
    def module(self) -> nn.Module:
        """The module itself."""
        return self.encoder.get_submodule("module")

    def record(self) -> dict[str, Any]:
        """Shape, likelihood, prior and, for the person who must give the module again, the name of its class."""
        own = {"likelihood": self.likelihood.name, "prior": self.prior.name, "own": type(self.module).__name__}
        return {**to_dict(self.config), **own}

    def compute_copy(self, dtype: torch.dtype) -> Network:
        """What the module's own `compute_copy(dtype)` gives: a module with the same parameters, some in `dtype`."""
        make = getattr(self.module, "compute_copy", None)
        if make is None:
            raise UsageError(
                f"{type(self.module).__name__} computes in float32 alone",
                hint="leave the precision out, or give it a method compute_copy(dtype)",
            )
        other = OwnNetwork(make(dtype), self.likelihood, self.config)
        other.prior = self.prior.beside(other.encoder)
        return other

    def stored_name(self, name: str) -> str:
        """The module's own name."""
        inside = next((prefix for prefix in _INSIDE if name.startswith(prefix)), "")
        return name.removeprefix(inside)


class _Coder(Protocol):
    """What is asked of a module."""

    def encode(self, x: Tensor) -> object: ...

    def decode(self, z: Tensor) -> Tensor: ...


class _Encode(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Float[Tensor, "b c h w"]) -> Posterior:
        found = cast(_Coder, self.module).encode(x)
        if isinstance(found, Posterior):
            return found
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise TypeError(f"encode gave a {type(found).__name__}, expected (mean, log_var)")
        return Posterior(*found)


class _Decode(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b p h w"]:
        return cast(_Coder, self.module).decode(z)


def own_network(
    module: object,
    config: Shape,
    chosen: str | Likelihood | None = None,
    *,
    prior: str = StandardNormal.name,
    seed: int = 0,
) -> OwnNetwork:
    """A copy of a module as a network, after it was tried on two images.

    Args:
        module: A torch module with `encode` and `decode`, in the mode in which it shall be trained.
        config: Latent size, channels and side of the images.
        chosen: Likelihood; by default `module.likelihood`, else gaussian.
        prior: Its name.
        seed: Of the prior's first parameters.

    Raises:
        UsageError: it does not fit: what was found, what was expected, and what mends it.
    """
    given = _checked(module)
    name = type(module).__name__
    try:
        copied = copy.deepcopy(given)
    except (RuntimeError, TypeError) as err:
        raise UsageError(
            f"{name} cannot be copied: {_first_line(err)}", hint=f"let copy.deepcopy take it; {_PAGE}"
        ) from err
    inside = getattr(copied, "likelihood", None)
    # A likelihood inside the module is not copied again: its numbers are the module's.
    if chosen is None and isinstance(inside, Likelihood):
        used = inside
    else:
        used = likelihood(chosen or inside or LayersConfig.likelihood)
    network = OwnNetwork(copied, used, config, prior, seed)
    _try(copy.deepcopy(network), name)
    return network


def _checked(module: object) -> nn.Module:
    if not isinstance(module, nn.Module):
        raise UsageError(f"network is a {type(module).__name__}, expected a torch.nn.Module", hint=_PAGE)
    missing = [name for name in ("encode", "decode") if not callable(getattr(module, name, None))]
    if missing:
        raise UsageError(
            f"{type(module).__name__} has no method {' and no '.join(missing)}",
            hint="write encode(x) -> (mean, log_var) and decode(z) -> the numbers of the likelihood",
        )
    lazy = [name for name, value in module.named_parameters() if nn.parameter.is_lazy(value)]
    if lazy:
        raise UsageError(
            f"{lazy[0]} of {type(module).__name__} has no shape yet",
            hint="call it once on images of this size before, so that its lazy layers take their shape",
        )
    if any(value.is_meta for value in (*module.parameters(), *module.buffers())):
        raise UsageError(
            f"the weights of {type(module).__name__} have no values: they are on torch's device 'meta'",
            hint="make it without torch.device('meta'), or call its to_empty(device='cpu') and draw its weights",
        )
    odd = [name for name, value in module.state_dict().items() if not isinstance(value, Tensor)]
    if odd:
        raise UsageError(f"{odd[0]} of {type(module).__name__} is no tensor and cannot be saved", hint=_PAGE)
    return module


def _try(network: Network, name: str) -> None:
    """A tiny forward pass, to be made on a copy; it leaves the global random state as it was.

    Raises:
        UsageError: shapes or values are not what they must be.
    """
    shape, p = network.config, network.likelihood.n_params * network.config.channels
    image = f"{shape.channels} x {shape.size} x {shape.size} px"
    x = _tried_images(shape).to(network.device)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            posterior = network.encode(x)
        except _MISFITS as err:
            what = f"{name} cannot encode images of {image}: {_first_line(err)}"
            raise UsageError(what, hint=_hint_of(network)) from err
        for part, values in zip(("mean", "log_var"), posterior, strict=True):
            _check_shape(values, (_TRIED, shape.latent_dim), f"{name}.encode gives {part}s", _latent_hint(values))
        try:
            params = network.decode(posterior.mean)
        except _MISFITS as err:
            what = f"{name} cannot decode latents of {shape.latent_dim} dimensions: {_first_line(err)}"
            raise UsageError(what, hint=_hint_of(network)) from err
        expected = (_TRIED, p, shape.size, shape.size)
        words = f"for images of {image} and the likelihood {network.likelihood.name}"
        _check_shape(params, expected, f"{name}.decode gives numbers {words}", f"let decode return {expected[1:]}")
        _check_alike(network.encode, x, posterior, f"{name}.encode gives other latents")
        _check_alike(lambda z: (network.decode(z),), posterior.mean, (params,), f"{name}.decode gives other numbers")
        _try_likelihood(network.likelihood, params, x)


def _hint_of(network: Network) -> str:
    """What mends a module that fails: the usual cause is weights of another number format."""
    if any(one.is_floating_point() and one.dtype != torch.float32 for one in network.parameters()):
        return "call .float() on the module"
    return _PAGE


def _tried_images(shape: Shape) -> Float[Tensor, "b c h w"]:
    return torch.rand((_TRIED, shape.channels, shape.size, shape.size), generator=torch.Generator().manual_seed(0))


def _check_shape(values: object, expected: tuple[int, ...], what: str, hint: str) -> None:
    """Refuse what is no finite float32 tensor of the shape."""
    if not isinstance(values, Tensor):
        raise UsageError(f"{what} that are a {type(values).__name__}, expected a tensor", hint=hint)
    if tuple(values.shape) != expected:
        raise UsageError(f"{what} of shape {tuple(values.shape)}, expected {expected}", hint=hint)
    if values.dtype != torch.float32:
        raise UsageError(f"{what} in {values.dtype}, expected torch.float32", hint="call .float() on the module")
    if not bool(torch.isfinite(values).all()):
        raise UsageError(f"{what} that are not finite numbers", hint="check its initial weights")


def _latent_hint(found: object) -> str:
    if isinstance(found, Tensor) and found.dim() == 2:
        return f"VAE(latent_dim={found.shape[1]}, network=...), or another network"
    return "let encode return (mean, log_var), each (images, latent dimensions)"


def _check_alike(
    compute: Callable[[Tensor], tuple[Tensor, ...]], given: Tensor, first: tuple[Tensor, ...], what: str
) -> None:
    """Refuse numbers that depend on chance, or on the other images of the batch."""
    again = compute(given)
    if _differ(again, first):
        raise UsageError(
            f"{what} each time for the same input",
            hint="take dropout out of it, or call its eval() before",
        )
    try:
        is_alone = not _differ(compute(given[:1]), tuple(values[:1] for values in first))
    except _MISFITS:
        is_alone = False
    if not is_alone:
        raise UsageError(
            f"{what} for an image when other images stand beside it",
            hint="use GroupNorm instead of BatchNorm, or call eval() on its BatchNorm layers before",
        )


def _differ(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> bool:
    """Whether numbers differ by more than the order of sums does."""
    return any(
        float((a - b).abs().max()) > _SAME * max(float(b.abs().max()), 1e-6)
        for a, b in zip(found, expected, strict=True)
    )


def try_likelihood_of(network: Network) -> None:
    """Try the likelihood of a network of zatlas on two images.

    Raises:
        UsageError: what it gives has another shape, or is not finite.
    """
    shape = network.config
    x = _tried_images(shape)
    with torch.no_grad():
        params = network.decode(torch.zeros(_TRIED, shape.latent_dim))
        _try_likelihood(copy.deepcopy(network.likelihood), params, x)


def _try_likelihood(chosen: Likelihood, params: Float[Tensor, "b p h w"], x: Float[Tensor, "b c h w"]) -> None:
    """Ask a likelihood for what training and pictures need of it, on numbers of a decoder and images.

    Raises:
        UsageError: what it gives has another shape, or is not finite.
    """
    name = type(chosen).__name__
    try:
        nats, image = chosen.nll(params, x, torch.ones_like(x[:, :1])), chosen.mean(params)
    except _MISFITS as err:
        raise UsageError(f"the likelihood {name} fails on images: {_first_line(err)}", hint=_PAGE) from err
    one_each = "let nll return one number for each image, summed over its pixels"
    _check_shape(nats, (len(x),), f"{name}.nll gives nats", one_each)
    _check_shape(image, tuple(x.shape), f"{name}.mean gives images", f"let mean return {tuple(x.shape[1:])} for each")


def _first_line(err: BaseException) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0]
