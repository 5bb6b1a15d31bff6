"""The flags: a parser with one flag per field of `config.py`, and the configuration that a command line asks for."""

import argparse
import dataclasses
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from zatlas import __version__
from zatlas.config import StudyConfig, from_dict, read_study_config, to_dict
from zatlas.errors import UsageError

__all__ = ["parser", "study_config"]

_DESCRIPTION = """From a collection of biomedical images to a variational autoencoder and a latent atlas
that a person can see, steer and trust.

  zatlas demo                               synthetic sections to a complete study, in minutes
  zatlas inspect cell_data.h5               groups, sizes, grey levels, which group to hold out
  zatlas study xray_images.npz --latent-dim 4 16 32 -o xray-study
  zatlas study cell_data.h5 --test-group B20 --tile 128 --sampler by_pixel -o brain-study
  zatlas explore brain-study                steer the latent space in a browser
"""

_EPILOG = "exit codes: 0 ok, 1 failed, 2 usage, 65 bad data, 73 cannot write, 74 cannot read, 130 interrupted"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"{self.prog} --help lists the flags")


def parser() -> argparse.ArgumentParser:
    """The parser of all verbs; a wrong flag raises a UsageError."""
    whole = _Parser(
        prog="zatlas", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    whole.add_argument("--version", action="version", version=f"zatlas {__version__}")
    verbs = whole.add_subparsers(dest="verb", metavar="VERB", parser_class=_Parser)
    _add_demo(verbs)
    _add_inspect(verbs)
    _add_study(verbs, "study", "the whole job: models, atlases, figures, report")
    _add_study(verbs, "train", "the first half of the job: split and trained models")
    _add_embed(verbs)
    _add_walk(verbs)
    _add_sample(verbs)
    _add_report(verbs)
    _add_explore(verbs)
    _add_export(verbs)
    return whole


def _new_verb(verbs: Any, name: str, help_text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=help_text, description=help_text, epilog=_EPILOG)
    parser.add_argument("-q", "--quiet", action="store_true", help="only warnings and errors")
    parser.add_argument("-v", "--verbose", action="store_true", help="every choice with its reason")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    return parser


def _add_demo(verbs: Any) -> None:
    parser = _new_verb(verbs, "demo", "synthetic brain sections with known factors to a complete study")
    parser.add_argument("-o", "--out", default="zatlas-demo", help="folder for the images and the study")


def _add_inspect(verbs: Any) -> None:
    parser = _new_verb(verbs, "inspect", "what is in a collection: groups, sizes, grey statistics, suggested hold-out")
    parser.add_argument("input", help="NPZ, NPY or HDF5 file, or a folder of images")
    parser.add_argument("-o", "--out", default="", help="folder for figures, tables and stats.json")
    _add_options(parser, ("data", "split", "tiles.tile", "seed"))


def _add_study(verbs: Any, name: str, help_text: str) -> None:
    parser = _new_verb(verbs, name, help_text)
    parser.add_argument("input", nargs="?", default="", help="images, or the folder of a study to go on with")
    parser.add_argument("-o", "--out", default="", help="the study's folder (default: named after the data)")
    parser.add_argument("--config", default="", help="TOML file with options and [[models]]; flags go on top")
    parser.add_argument("--force", action="store_true", help="begin afresh in a new folder beside an existing study")
    parser.add_argument("--dry-run", action="store_true", help="show the plan with sizes, time and memory; do nothing")
    if name == "study":
        parser.add_argument("--no-explorer", action="store_true", help="leave out the files of the explorer")
    _add_options(parser, ("seed", "title", "data", "split", "tiles", "model", "train", "atlas"))


def _add_embed(verbs: Any) -> None:
    parser = _new_verb(verbs, "embed", "latents of all images, or of a dense grid of tiles, as an AnnData file")
    _add_study_input(parser)
    parser.add_argument("--data", default="", help="the images to embed (default: those of the study)")
    parser.add_argument("--stride", type=int, default=0, help="distance between tiles [px] (default: the tile size)")
    parser.add_argument(
        "--refine", type=int, default=0, help="gradient steps that refine each latent (default: 0, the encoder's own)"
    )


def _add_walk(verbs: Any) -> None:
    parser = _new_verb(verbs, "walk", "images along a line through the latent space")
    _add_study_input(parser)
    parser.add_argument("--axis", default="PC1", help="PC1, PC2, ..., TSNE1, TSNE2, z0, z1, ... or a numeric label")
    parser.add_argument("--between", nargs=2, metavar=("IMAGE", "IMAGE"), help="path between two images instead")
    parser.add_argument("--points", type=int, default=7, help="interior points (default: 7)")
    parser.add_argument("--kind", choices=("straight", "spherical"), default="straight", help="shape of the path")


def _add_sample(verbs: Any) -> None:
    parser = _new_verb(verbs, "sample", "new images from a density fitted to the training latents")
    _add_study_input(parser)
    parser.add_argument("-n", type=int, default=None, help="how many (default: 24; 6 tiles with --as-if)")
    parser.add_argument(
        "--from", dest="source", choices=("latents", "prior", "gaussian", "mixture", "exemplars", "flow"),
        default="latents",
        help="what to draw from: a density of the training latents (latents, the default), the prior of the model "
        "(prior, a diagnosis), or a prior fitted to the model after training (gaussian, mixture, exemplars, flow)",
    )  # fmt: skip
    parser.add_argument("--prior", dest="source", action="store_const", const="prior", help="the same as --from prior")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws")
    parser.add_argument(
        "--as-if", nargs="*", metavar="VALUE", default=None,
        help="instead: real tiles as if they had other values of the covariate, such as brains (default: all it knows)",
    )  # fmt: skip


def _add_report(verbs: Any) -> None:
    parser = _new_verb(verbs, "report", "figures and report.html again, from the results stored in a study")
    parser.add_argument("study", help="folder of a finished study; it may be read-only")
    parser.add_argument("-o", "--out", default="", help="the page to write (default: report.html in the study)")


def _add_explore(verbs: Any) -> None:
    parser = _new_verb(verbs, "explore", "the explorer of a study in the browser; Ctrl-C ends it (exit code 0)")
    parser.add_argument("study", help="folder of a finished study; it may be read-only")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this computer alone)")
    parser.add_argument(
        "--i-understand", action="store_true", help="with --host: others who have the link may see the images"
    )
    parser.add_argument(
        "--allowed-host", action="append", default=[], metavar="NAME", help="another name of this server, as of a proxy"
    )
    parser.add_argument("--socket", default="", metavar="FILE", help="listen on a Unix socket instead, for ssh -L")


def _add_export(verbs: Any) -> None:
    parser = _new_verb(verbs, "export", "the explorer to give away: a folder for a web host, or one HTML file")
    parser.add_argument("study", help="folder of a finished study; it may be read-only")
    parser.add_argument("-o", "--out", default="", help="folder to write: new, empty or an earlier export")
    parser.add_argument("--single-file", default="", metavar="FILE", help="write one HTML file instead")
    parser.add_argument("--model", nargs="+", default=[], metavar="NAME", help="models such as z16 (default: all)")
    parser.add_argument("--with-originals", action="store_true", help="with the images as the model sees them")
    parser.add_argument("--no-thumbnails", action="store_true", help="without small images")
    parser.add_argument(
        "--encoder", action=argparse.BooleanOptionalAction, default=None,
        help="what places an image of one's own on the map (default: in a folder, but not in a single file)",
    )  # fmt: skip


def _add_study_input(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", help="folder of a study")
    parser.add_argument("--model", default="", help="which model, such as z16 (default: the last one)")
    parser.add_argument("-o", "--out", default="", help="where to write")


def _add_options(parser: argparse.ArgumentParser, wanted: Sequence[str]) -> None:
    """One flag per field of the configuration sections (or single fields) in `wanted`."""
    for field in dataclasses.fields(StudyConfig):
        section = typing.get_type_hints(StudyConfig)[field.name]
        if not dataclasses.is_dataclass(section):
            if field.name in wanted:
                _add_option(parser, field, section, field.name)
            continue
        group = parser.add_argument_group((section.__doc__ or field.name).splitlines()[0].rstrip("."))
        hints = typing.get_type_hints(section)
        for inner in dataclasses.fields(section):
            is_wanted = field.name in wanted or f"{field.name}.{inner.name}" in wanted
            if is_wanted and (field.name, inner.name) != ("data", "input"):
                _add_option(group, inner, hints[inner.name], f"{field.name}.{inner.name}")


def _add_option(parser: Any, field: dataclasses.Field[Any], kind: Any, destination: str) -> None:
    is_list = typing.get_origin(kind) is tuple
    unit = f" [{field.metadata['unit']}]" if field.metadata["unit"] else ""
    default: Any = field.default
    default = " ".join(map(str, default)) if is_list else default
    shown = f" (default: {default})" if default not in ("", None) else ""
    if kind is bool:
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", dest=destination, action=argparse.BooleanOptionalAction,
            default=argparse.SUPPRESS, help=field.metadata["help"].replace("%", "%%"),
        )  # fmt: skip
        return
    parser.add_argument(
        f"--{field.name.replace('_', '-')}",
        dest=destination,
        type=typing.get_args(kind)[0] if is_list else kind,
        nargs="+" if is_list else None,
        default=argparse.SUPPRESS,
        metavar=field.name.upper(),
        help=f"{field.metadata['help']}{unit}{shown}".replace("%", "%%"),
    )


def _refuse_idle_flags(options: argparse.Namespace, models: Sequence[dict[str, Any]]) -> None:
    """A flag fills what the tables of [[models]] leave out; one that all of them give would change nothing."""
    for destination in vars(options) if models else ():
        section, _, name = destination.partition(".")
        if section == "model" and all(name in model for model in models):
            raise UsageError(
                f"--{name.replace('_', '-')} has no effect, because each of [[models]] has its own {name}",
                hint=f"change {name} in the TOML file",
            )


def study_config(options: argparse.Namespace, base: StudyConfig | None = None) -> StudyConfig:
    """The configuration that a command line asks for: defaults, `base` or --config, then flags, then INPUT."""
    values: dict[str, Any] = to_dict(base) if base else {}
    path = Path(getattr(options, "config", "") or "")
    if getattr(options, "config", ""):
        if not path.is_file():
            raise UsageError(f"--config {path}: there is no such file")
        values = to_dict(read_study_config(path))
    for destination, value in vars(options).items():
        section, _, name = destination.partition(".")
        if name:
            values.setdefault(section, {})[name] = value
        elif destination in ("seed", "title"):
            values[destination] = value
    _refuse_idle_flags(options, values.get("models", []))
    if options.input and base is None:
        values.setdefault("data", {})["input"] = options.input
    config: StudyConfig = from_dict(StudyConfig, values)
    return config
