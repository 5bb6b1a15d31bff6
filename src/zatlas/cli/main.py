"""The command line: `zatlas VERB INPUT [-o OUT] [--flag value]`.

Data goes to stdout, talk and progress bars to stderr. One flag per field of `config.py`; `--config FILE.toml` is read
first and flags go on top. The last line printed is the next useful command. Exit codes: 0 ok, 1 failed, 2 usage,
65 bad data, 73 cannot write, 74 cannot read, 130 interrupted.
"""

import argparse
import logging
import math
import signal
import sys
import threading
import time
import typing
from collections.abc import Callable, Sequence
from typing import Any

from zatlas.cli.flags import parser
from zatlas.errors import ZatlasError

__all__ = ["main"]

INTERRUPTED = 130
_WITH_A_MODEL = ("demo", "study", "train", "embed", "walk", "sample", "explore", "export")
_POLLED_RECENTLY_S = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    is_debug = "--debug" in given
    try:
        options = parser().parse_args(given)
        if options.verb is None:
            parser().print_help()
            return 0
        _set_up_logging(options)
        with _StoppingPolitely(options):
            return int(_verb(options.verb)(options, ["zatlas", *given]) or 0)
    except ZatlasError as err:
        if is_debug:
            raise
        _show_error(err)
        return err.exit_code
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return 1


def _verb(name: str) -> Callable[[argparse.Namespace, list[str]], int | None]:
    """The function behind a verb; imported here so that --help, usage errors and `inspect` need no torch."""
    from zatlas.cli import verbs

    if name in _WITH_A_MODEL:
        from zatlas.training.devices import raise_allocator_thresholds

        logging.getLogger("zatlas").debug("allocator: %s", raise_allocator_thresholds())
    return typing.cast(Callable[[argparse.Namespace, list[str]], int | None], getattr(verbs, name))


def _show_error(err: ZatlasError) -> None:
    def escape(text: str) -> str:
        return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)

    print(f"error: {escape(str(err))}", file=sys.stderr)


def _set_up_logging(options: argparse.Namespace) -> None:
    level = logging.WARNING if options.quiet else logging.DEBUG if options.verbose else logging.INFO
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("zatlas")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(level)


class _StoppingPolitely:
    """Within the block, the first Ctrl-C (or SIGTERM) lets training finish its step and write a checkpoint.

    Training asks `stop_requested` after each step. Where nobody has asked for a while, nobody is training, and the
    signal stops the program at once; so does a second one.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.is_asked = False
        self.polled_at = -math.inf
        options.stop_requested = self.poll
        self.old: dict[int, Any] = {}

    def poll(self) -> bool:
        self.polled_at = time.monotonic()
        return self.is_asked

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self.old = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *reason: object) -> None:
        for number, handler in self.old.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        is_training = time.monotonic() - self.polled_at < _POLLED_RECENTLY_S
        if self.is_asked or not is_training:
            raise KeyboardInterrupt
        self.is_asked = True
        print("\nstopping after this step; press Ctrl-C again to stop at once", file=sys.stderr)
