"""Those parts of the reference that are written from the code, so that they cannot disagree with it.

    python docs/_ext/zatlas_reference.py     writes them anew into docs/reference and docs/explanation/phantoms.md

They are kept in the pages themselves, between two markers, so that a checkout and a code host show them without a
build; a test compares them with the code. Sphinx loads this file for what it says to autodoc.
"""

import argparse
import dataclasses
import inspect
import os
import typing
from pathlib import Path
from typing import Any

import zatlas
from zatlas import config, errors
from zatlas.cli.flags import parser as flags_parser
from zatlas.images import phantom

DOCS = Path(__file__).resolve().parents[1]
_BEGIN, _END = "<!-- written by docs/_ext/zatlas_reference.py -->", "<!-- end of what is written -->"


def setup(app: Any) -> dict[str, bool]:
    """Tell Sphinx what to leave out of the documentation of modules."""
    app.connect("autodoc-process-docstring", _without_markdown_tables)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def pages() -> dict[Path, str]:
    """Each page with a part that is written from the code: its whole text, as it should be."""
    parts = {
        "reference/cli.md": command_line(),
        "reference/configuration.md": configuration(),
        "reference/exit_codes.md": exit_codes(),
        "reference/api.md": public_names(),
        "explanation/phantoms.md": phantoms(),
    }
    return {DOCS / name: _with_part((DOCS / name).read_text(encoding="utf-8"), part) for name, part in parts.items()}


def _with_part(page: str, part: str) -> str:
    before, _, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise ValueError("the page has no place for what is written from the code")
    return f"{before}{_BEGIN}\n\n{part.strip()}\n\n{_END}{after}"


def public_names() -> str:
    """A table of what `import zatlas` offers: name, what it is, where it is written."""
    lines = ["| name | what it is | source |", "|---|---|---|"]
    for name in zatlas.__all__:
        if not name.startswith("_"):
            home = Path(inspect.getfile(getattr(zatlas, name))).resolve().relative_to(DOCS.parent).as_posix()
            about = (inspect.getdoc(getattr(zatlas, name)) or "").split("\n\n")[0].replace("\n", " ")
            lines.append(f"| `{name}` | {about} | [{home.removeprefix('src/zatlas/')}](../../{home}) |")
    return "\n".join(lines)


def command_line() -> str:
    """The help of each verb, as `zatlas VERB --help` prints it."""
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"
    try:
        parser = flags_parser()
        verbs = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        parts = [_help(parser, "zatlas"), *(_help(verb, f"zatlas {name}") for name, verb in verbs.choices.items())]
    finally:
        os.environ.pop("COLUMNS")
        os.environ |= {"COLUMNS": columns} if columns else {}
    return "\n".join(parts)


def _help(parser: argparse.ArgumentParser, title: str) -> str:
    return f"## {title}\n\n```text\n{parser.format_help().rstrip()}\n```\n"


def configuration() -> str:
    """One table per section of study.toml: option, flag, default, unit, meaning; then the tables of models."""
    parts = []
    hints = typing.get_type_hints(config.StudyConfig)
    fields = dataclasses.fields(config.StudyConfig)
    top = [field for field in fields if not dataclasses.is_dataclass(hints[field.name]) and field.name != "models"]
    parts.append(_table("Top of the file", "", "What the whole study shares.", top, hints))
    for field in fields:
        kind = hints[field.name]
        if dataclasses.is_dataclass(kind):
            about = inspect.getdoc(kind) or ""
            rows = dataclasses.fields(kind)
            parts.append(_table(field.name, f"[{field.name}]", about, list(rows), typing.get_type_hints(kind)))
    return "\n".join([*parts, _models(next(field for field in fields if field.name == "models"))])


def _models(field: Any) -> str:
    """What a table of [[models]] may hold."""
    about = f"One table per model: {field.metadata['help']}. What a table leaves out comes from `[model]` and `seed`."
    lines = ["## `[[models]]`", "", about, "", "| option | type |", "|---|---|", "| `name` | text |"]
    lines += [f"| `{name}` | {_kind(hint)} |" for name, hint in config.own_options().items()]
    return "\n".join([*lines, ""])


def _table(title: str, section: str, about: str, fields: list[Any], hints: dict[str, Any]) -> str:
    heading = f"## `{section}`" if section else f"## {title}"
    lines = [heading, "", about, "", "| option | flag | default | type | meaning |", "|---|---|---|---|---|"]
    for field in fields:
        flag = "INPUT" if (section, field.name) == ("[data]", "input") else f"--{field.name.replace('_', '-')}"
        unit = f" [{field.metadata['unit']}]" if field.metadata["unit"] else ""
        meaning = f"{field.metadata['help']}{unit}".replace("|", "\\|")
        cells = (f"`{field.name}`", f"`{flag}`", f"`{_value(field.default)}`", _kind(hints[field.name]), meaning)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def _value(default: Any) -> str:
    """A default as TOML writes it."""
    if isinstance(default, tuple):
        return "[" + ", ".join(_value(item) for item in default) + "]"
    return f'"{default}"' if isinstance(default, str) else str(default)


def _kind(hint: Any) -> str:
    names = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    if typing.get_origin(hint) is tuple:
        return f"list of {names[typing.get_args(hint)[0]]}s".replace("texts", "text")
    return names[hint]


def exit_codes() -> str:
    """The exit code of each kind of error, with the first sentence of its documentation."""
    kinds: dict[int, list[str]] = {0: ["Everything went well."]}
    for name in errors.__all__:
        kind = getattr(errors, name)
        about = (inspect.getdoc(kind) or "").splitlines()[0].partition(" (exit code")[0].rstrip(".")
        kinds.setdefault(kind.exit_code, []).append(f"{about} (`{name}`).")
    lines = ["| exit code | meaning |", "|---|---|"]
    lines += [f"| {code} | {' '.join(meanings)} |" for code, meanings in sorted(kinds.items())]
    return "\n".join([*lines, ""])


def phantoms() -> str:
    """The tables of factors, under a heading each."""
    tables: list[list[str]] = [[]]
    for line in (inspect.getdoc(phantom) or "").splitlines():
        if line.startswith("|"):
            tables[-1].append(line)
        elif tables[-1]:
            tables.append([])
    headings = ("## Brain sections", "## Radiographs")
    return "\n".join(f"{title}\n\n{chr(10).join(rows)}\n" for title, rows in zip(headings, tables, strict=False))


def _without_markdown_tables(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Tables of a module's documentation stand on a page of their own; reStructuredText would not understand them."""
    if what == "module":
        lines[:] = [line for line in lines if not line.startswith("|")]


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
