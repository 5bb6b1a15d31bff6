"""What a long job tells the person who waits: sentences, progress, steps of training. The command line draws them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zatlas.training.fit import Step
else:  # which imports torch
    Step = Any

__all__ = ["Talk"]


@dataclass(frozen=True)
class Talk:
    """Callbacks of a job; the default ones are silent."""

    say: Callable[[str], None] = lambda text: None
    """A sentence about a choice or a phase."""
    progress: Callable[[str, int, int], None] = lambda label, done, total: None
    """(label, done, total) of a phase."""
    step: Callable[[str, Step], None] = lambda model, step: None
    """(model, step) after each step of training."""
    stop_requested: Callable[[], bool] = lambda: False
    """Whether the person asked to stop."""

    def on(self, label: str) -> Callable[[int, int], None]:
        """The progress callback (done, total) of the phase `label`."""
        return lambda done, total: self.progress(label, done, total)
