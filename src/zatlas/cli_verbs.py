"""What each verb of the command line does: read the flags, call the library, print the result and the next command.

Each verb imports what it needs itself: looking at images needs no torch, training no scikit-learn.
"""

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zatlas.cli import study_config
from zatlas.cli_talk import terminal_talk
from zatlas.config import StudyConfig
from zatlas.errors import UsageError
from zatlas.studies.talk import Talk

if TYPE_CHECKING:
    from zatlas.studies.study import Study
else:
    Study = Any

__all__ = ["demo", "embed", "inspect", "report", "sample", "study", "train", "walk"]


def demo(options: argparse.Namespace, command: list[str]) -> None:
    """`zatlas demo`"""
    from zatlas.studies.demo import demo as run_demo

    made = run_demo(options.out, command=command, talk=_talk(options))
    _show_study(options, made)


def inspect(options: argparse.Namespace, command: list[str]) -> None:
    """`zatlas inspect INPUT`"""
    from zatlas.studies.inspect import inspect as run_inspect

    config = study_config(options)
    found = run_inspect(config, Path(options.out) if options.out else None, _talk(options))
    _show(options, found.as_dict(), found.text())
    given = {"--labels": config.data.labels, "--group": config.data.group, "--key": config.data.key}
    flags = [f"{flag} {shlex.quote(value)}" for flag, value in given.items() if value]
    words = ["zatlas study", shlex.quote(options.input), *flags, found.suggested_flags, "-o my-study"]
    _next(options, " ".join(word for word in words if word))


def study(options: argparse.Namespace, command: list[str]) -> None:
    """`zatlas study INPUT`"""
    _run(options, command, until="")


def train(options: argparse.Namespace, command: list[str]) -> None:
    """`zatlas train INPUT`"""
    _run(options, command, until="train")


def _run(options: argparse.Namespace, command: list[str], *, until: str) -> None:
    from zatlas.studies.plan import plan
    from zatlas.studies.study import study as run_study
    from zatlas.studies.study import study_folder

    config, out = _study_and_folder(options)
    if options.dry_run:
        planned = plan(config, study_folder(config, out), _talk(options))
        _show(options, planned.as_dict(), planned.text())
        _next(options, " ".join(shlex.quote(word) for word in command if word != "--dry-run"))
        return
    made = run_study(config, out, force=options.force, command=command, talk=_talk(options), until=until)
    if until:
        _show(options, {"study": str(made.folder), "models": made.names}, f"trained models are in {made.folder}/models")
        _next(options, f"zatlas study {shlex.quote(str(made.folder))}")
    else:
        _show_study(options, made)


def _study_and_folder(options: argparse.Namespace) -> tuple[StudyConfig, str]:
    """The configuration and the folder; INPUT may itself be a study to go on with."""
    from zatlas.studies.study import Study

    is_study = options.input and (Path(options.input) / "study.toml").is_file()
    if not is_study:
        return study_config(options), options.out
    if options.out and Path(options.out) != Path(options.input):
        raise UsageError(f"{options.input} is a study", hint="leave out -o to go on with it")
    return study_config(options, base=Study(options.input).config_as_given()), options.input


def embed(options: argparse.Namespace, command: list[str]) -> None:
    """`zatlas embed STUDY`"""
    from zatlas.studies import steps
    from zatlas.studies.study import Study

    made = Study(options.study)
    name = made.name(options.model)
    target = Path(options.out or f"{made.folder.name}-{name}.h5ad")
    atlas = steps.embed(made, name, target, data=options.data, stride=options.stride, talk=_talk(options))
    n, d = atlas.mean.shape
    _show(options, {"atlas": str(target), "n": n, "d": d}, f"{target}: {n} latents of {d} dimensions")
    _next(options, f"python -c \"import anndata; print(anndata.read_h5ad('{target}'))\"")


def walk(options: argparse.Namespace, command: list[str]) -> None:
    """`zatlas walk STUDY`"""
    from zatlas.studies import steps
    from zatlas.studies.study import Study

    made = Study(options.study)
    between = tuple(options.between) if options.between else None
    label = "-".join(between) if between else options.axis
    target = Path(options.out or f"walk-{label.replace('/', '_')}")
    found = steps.walk(
        made, made.name(options.model), target, axis=options.axis, between=between, points=options.points,
        kind=options.kind, talk=_talk(options),
    )  # fmt: skip
    _show(options, found, f"{target}: {found['text']}")
    _next(options, f"zatlas walk {shlex.quote(options.study)} --axis PC2")


def sample(options: argparse.Namespace, command: list[str]) -> None:
    """`zatlas sample STUDY`"""
    from zatlas.studies import steps
    from zatlas.studies.study import Study

    made = Study(options.study)
    target = Path(options.out or ("samples-prior" if options.prior else "samples"))
    found = steps.sample(
        made,
        made.name(options.model),
        target,
        n=options.n,
        is_prior=options.prior,
        seed=options.seed,
        talk=_talk(options),
    )
    _show(options, found, f"{target}: {found['text']}")
    _next(options, f"zatlas sample {shlex.quote(options.study)} --prior")


def report(options: argparse.Namespace, command: list[str]) -> None:
    """`zatlas report STUDY`"""
    from zatlas.studies import steps
    from zatlas.studies.study import Study

    page = steps.report(Study(options.study), Path(options.out) if options.out else None, _talk(options))
    _show(options, {"report": str(page)}, str(page))


def _show_study(options: argparse.Namespace, made: Study) -> None:
    from zatlas.studies import steps

    page = made.folder / "report.html"
    summary = made.headline()
    _show(
        options, {"study": str(made.folder), "report": str(page), "models": summary}, steps.headline_text(made, summary)
    )
    _next(options, f"open {page} in a browser; zatlas walk {made.folder} --axis PC1")


def _talk(options: argparse.Namespace) -> Talk:
    return terminal_talk(is_quiet=options.quiet, stop_requested=options.stop_requested)


def _show(options: argparse.Namespace, record: dict[str, Any], text: str) -> None:
    print(json.dumps(record, indent=1, default=str) if options.json else text)


def _next(options: argparse.Namespace, command: str) -> None:
    if not options.quiet and not options.json:
        print(f"next: {command}", file=sys.stderr)
