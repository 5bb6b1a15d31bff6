"""What long work tells whoever listens: sentences, progress, steps of training. The command line draws them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Step", "Talk"]


@dataclass(frozen=True)
class Step:
    """What `on_step` is told after each step; losses are means over the images of this batch [nats per image]."""

    epoch: int
    epochs: int
    step: int
    n_steps: int
    images_per_s: float
    seconds_left: float
    distortion_nats: float
    rate_nats: float
    elbo_nats: float
    active_dims: int
    n_dims: int
    learning_rate: float


@dataclass(frozen=True)
class Talk:
    """Callbacks of a job; the default ones are silent."""

    say: Callable[[str], None] = lambda text: None
    """A sentence about a choice or a phase."""
    progress: Callable[[str, int, int], None] = lambda label, done, total: None
    """(label, done, total) of a phase."""
    step: Callable[[str, Step], None] = lambda model, step: None
    """(model, step) after each step of training."""
    epoch: Callable[[str, dict[str, Any]], None] = lambda model, row: None
    """(model, row of its history) after each epoch of training."""
    stop_requested: Callable[[], bool] = lambda: False
    """Whether the person asked to stop."""

    def on(self, label: str) -> Callable[[int, int], None]:
        """The progress callback (done, total) of the phase `label`."""
        return lambda done, total: self.progress(label, done, total)
