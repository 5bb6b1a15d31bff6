"""What can go wrong, in words for the person at the keyboard.

Every error that zatlas raises on purpose is a `ZatlasError`: one sentence on what happened and where, what was found
and what was expected, and a hint that names the one change that mends it. The command line prints these two and exits
with the kind's `exit_code`; a traceback is shown only with `--debug`.
"""

__all__ = ["DataError", "FileAccessError", "Interrupted", "TrainingError", "UsageError", "WriteError", "ZatlasError"]


class ZatlasError(Exception):
    """An expected failure.

    Args:
        what: What happened, what was found and what was expected, in one sentence without a final full stop.
        where: File, group, image or line, when `what` does not say it.
        hint: The one change or command that mends it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.hint = what, where, hint

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  in {self.where}")
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)


class TrainingError(ZatlasError):
    """Training cannot go on (exit code 1)."""


class UsageError(ZatlasError):
    """A flag, a name or a configuration that makes no sense (exit code 2)."""

    exit_code = 2


class DataError(ZatlasError):
    """The images, labels or study given cannot be used (exit code 65)."""

    exit_code = 65


class WriteError(ZatlasError):
    """A result cannot be written (exit code 73)."""

    exit_code = 73


class FileAccessError(ZatlasError):
    """A file cannot be opened or read (exit code 74)."""

    exit_code = 74


class Interrupted(ZatlasError):
    """The person asked to stop; what was done is kept (exit code 130)."""

    exit_code = 130
