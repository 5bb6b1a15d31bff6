"""How the command line shows a long job: bars on a terminal, else a line every half minute; all on stderr."""

import sys
import time
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from zatlas.progress import Step, Talk

__all__ = ["terminal_talk"]

_LINE_EVERY_S = 30.0


@dataclass
class _Screen:
    is_quiet: bool
    is_terminal: bool
    bar: Any = None
    label: str = ""
    last_line: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        self.close()
        if not self.is_quiet or text.startswith("warning"):
            print(text, file=sys.stderr, flush=True)

    def progress(self, label: str, done: int, total: int) -> None:
        self._show(label, done, total, "", f"{label}: {done} of {total}")

    def step(self, model: str, step: Step) -> None:
        numbers = (
            f"epoch {step.epoch}/{step.epochs}  elbo {-step.distortion_nats - step.rate_nats:.1f}  "
            f"distortion {step.distortion_nats:.1f}  rate {step.rate_nats:.1f} nats  "
            f"active {step.active_dims}/{step.n_dims}  {step.images_per_s:.0f} images/s"
        )
        left = f"{step.seconds_left / 60:.0f} min left" if step.seconds_left > 90 else f"{step.seconds_left:.0f} s left"
        self._show(
            f"training {model}", step.step, step.n_steps, f"{numbers}  {left}", f"training {model}: {numbers}  {left}"
        )

    def _show(self, label: str, done: int, total: int, numbers: str, line: str) -> None:
        if self.is_quiet:
            return
        if not self.is_terminal:
            self._line(line)
            return
        if self.bar is None or self.label != label:
            self.close()
            layout = "{desc} {percentage:3.0f}% |{bar}| {postfix}" if numbers else None
            self.bar, self.label = tqdm(total=total, desc=label, file=sys.stderr, leave=False, bar_format=layout), label
        self.bar.total = total
        if numbers:
            self.bar.set_postfix_str(numbers, refresh=False)
        self.bar.update(done - self.bar.n)
        if done >= total:
            self.close()

    def _line(self, line: str) -> None:
        now = time.monotonic()
        if now - self.last_line >= _LINE_EVERY_S:
            self.last_line = now
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar, self.label = None, ""


def terminal_talk(*, is_quiet: bool, stop_requested: Any) -> Talk:
    """A Talk that draws on the terminal."""
    screen = _Screen(is_quiet=is_quiet, is_terminal=sys.stderr.isatty())
    return Talk(say=screen.say, progress=screen.progress, step=screen.step, stop_requested=stop_requested)
