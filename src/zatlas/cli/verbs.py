"""What each verb of the command line does: read the flags, call the library, print the result and the next command.

Each verb imports what it needs itself: looking at images needs no torch, training no scikit-learn.
"""

import argparse
import contextlib
import gc
import json
import logging
import shlex
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zatlas.cli.flags import study_config
from zatlas.cli.screen import terminal_talk
from zatlas.config import StudyConfig
from zatlas.errors import UsageError, ZatlasError
from zatlas.progress import Talk

if TYPE_CHECKING:
    from zatlas.explorer.server.guard import AccessRules
    from zatlas.studies.study import Study
else:
    AccessRules = Study = Any

__all__ = ["demo", "embed", "explore", "export", "inspect", "report", "sample", "study", "train", "walk"]


def demo(options: argparse.Namespace, command: list[str]) -> None:
    """`zatlas demo`"""
    from zatlas.studies.demo import demo as run_demo

    made = run_demo(options.out, command=command, talk=_talk(options))
    _make_explorer(options, made)
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
    from zatlas.studies.run import study as run_study
    from zatlas.studies.run import study_folder

    config, out = _study_and_folder(options)
    if options.dry_run:
        planned = plan(config, study_folder(config, out), _talk(options), force=options.force, until=until)
        _show(options, planned.as_dict(), planned.text())
        _next(options, " ".join(shlex.quote(word) for word in command if word != "--dry-run"))
        return
    made = run_study(config, out, force=options.force, command=command, talk=_talk(options), until=until)
    if until:
        _show(options, {"study": str(made.folder), "models": made.names}, f"trained models are in {made.folder}/models")
        _next(options, f"zatlas study {shlex.quote(str(made.folder))}")
    else:
        if not options.no_explorer:
            _make_explorer(options, made)
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
    from zatlas.studies import verbs as study_verbs
    from zatlas.studies.study import Study

    made = Study(options.study)
    name = made.name(options.model)
    target = Path(options.out or f"{made.folder.name}-{name}.h5ad")
    atlas = study_verbs.embed(
        made, name, target, data=options.data, stride=options.stride, refine=options.refine, talk=_talk(options)
    )
    n, d = atlas.mean.shape
    _show(options, {"atlas": str(target), "n": n, "d": d}, f"{target}: {n} latents of {d} dimensions")
    _next(options, f"python -c \"import anndata; print(anndata.read_h5ad('{target}'))\"")


def walk(options: argparse.Namespace, command: list[str]) -> None:
    """`zatlas walk STUDY`"""
    from zatlas.studies import verbs as study_verbs
    from zatlas.studies.study import Study

    made = Study(options.study)
    between = tuple(options.between) if options.between else None
    label = "-".join(between) if between else options.axis
    target = Path(options.out or f"walk-{label.replace('/', '_')}")
    found = study_verbs.walk(
        made, made.name(options.model), target, axis=options.axis, between=between, points=options.points,
        kind=options.kind, talk=_talk(options),
    )  # fmt: skip
    _show(options, found, f"{target}: {found['text']}")
    _next(options, f"zatlas walk {shlex.quote(options.study)} --axis PC2")


def sample(options: argparse.Namespace, command: list[str]) -> None:
    """`zatlas sample STUDY`"""
    from zatlas.studies import verbs as study_verbs
    from zatlas.studies.study import Study

    made = Study(options.study)
    if options.as_if is not None:
        target = Path(options.out or "as-if")
        found = study_verbs.as_if(
            made, made.name(options.model), target, values=options.as_if, n=6 if options.n is None else options.n,
            talk=_talk(options),
        )  # fmt: skip
        _show(options, found, f"{target}: {found['text']}")
        return
    target = Path(options.out or ("samples" if options.source == "latents" else f"samples-{options.source}"))
    found = study_verbs.sample(
        made,
        made.name(options.model),
        target,
        n=24 if options.n is None else options.n,
        source=options.source,
        seed=options.seed,
        talk=_talk(options),
    )
    _show(options, found, f"{target}: {found['text']}")
    other = "latents" if options.source == "prior" else "prior"
    _next(options, f"zatlas sample {shlex.quote(options.study)} --from {other}")


def report(options: argparse.Namespace, command: list[str]) -> None:
    """`zatlas report STUDY`"""
    from zatlas.studies import verbs as study_verbs
    from zatlas.studies.study import Study

    page = study_verbs.report(Study(options.study), Path(options.out) if options.out else None, _talk(options))
    _show(options, {"report": str(page)}, str(page))


def explore(options: argparse.Namespace, command: list[str]) -> None:
    """`zatlas explore STUDY`; Ctrl-C is its ordinary end, with exit code 0"""
    from zatlas.explorer.bundle.writing import bundle_of
    from zatlas.explorer.page import page_files
    from zatlas.explorer.server.guard import AccessRules
    from zatlas.explorer.server.serving import ServedStudy, serve
    from zatlas.studies.study import Study

    page_files()
    made = Study(options.study)
    served = ServedStudy(
        bundle=bundle_of(made, talk=_talk(options)),
        study=made,
        access=AccessRules(allowed_hosts=tuple(options.allowed_host)),
    )
    if not options.verbose:
        logging.getLogger("zatlas").setLevel(logging.WARNING)  # the images open behind the address that was printed
    serve(
        served, host=options.host, port=options.port, is_understood=options.i_understand,
        unix_socket=Path(options.socket) if options.socket else None,
        on_ready=lambda address, access: _show_address(options, address, access),
    )  # fmt: skip
    print("\nstopped", file=sys.stderr)
    gc.freeze()  # or Python looks through all of torch once more before it ends: 1.07 s instead of 0.14 s


def _show_address(options: argparse.Namespace, address: str, access: AccessRules) -> None:
    """Print where the explorer is and open it; the browser gets a ticket for one use, because `ps` shows it."""
    address = address or "http://localhost:8000/"
    link = f"{address}?t={access.token}"
    _show(options, {"url": link}, link)
    sys.stdout.flush()
    if options.socket:
        print(f"from another computer: ssh -L 8000:{Path(options.socket).resolve()} THIS-COMPUTER", file=sys.stderr)
    if options.i_understand:
        print("warning: who has this link can see the images; the connection is not encrypted", file=sys.stderr)
    print("press Ctrl-C to stop", file=sys.stderr, flush=True)
    if not options.no_browser and not options.socket:
        threading.Thread(target=_open_browser, args=(f"{address}?t={access.ticket()}",), daemon=True).start()


def _open_browser(address: str) -> None:
    """Open the browser of the desktop; one that would run inside this terminal is left alone."""
    with contextlib.suppress(webbrowser.Error, OSError):
        browser = webbrowser.get()
        is_in_terminal = type(browser) is webbrowser.GenericBrowser
        if not is_in_terminal and browser.open(address):
            return
    print("no browser was found here: open the address above", file=sys.stderr)


def export(options: argparse.Namespace, command: list[str]) -> None:
    """`zatlas export STUDY`"""
    from zatlas.explorer.page import page_files
    from zatlas.explorer.share import check_file, check_folder, export_file, export_folder
    from zatlas.studies.study import Study

    if bool(options.out) == bool(options.single_file):
        raise UsageError("export needs one place to write", hint="-o DIR for a web host, or --single-file FILE.html")
    page_files()
    if options.out:
        check_folder(Path(options.out))
    else:
        check_file(Path(options.single_file))
    with _bundle_to_export(options, Study(options.study)) as bundle:
        if options.out:
            made = export_folder(bundle, Path(options.out))
        else:
            made = export_file(bundle, Path(options.single_file))
    target = options.out or options.single_file
    record = {"path": str(made.path), "bytes": made.bytes_in_all, "parts": made.parts, "privacy": made.contents()}
    _show(options, record, "\n".join([f"{target}: {made.size()}", *made.contents()]))
    if options.out:
        _next(options, f"python3 -m http.server -d {shlex.quote(target)}")
    else:
        _next(options, f"open {shlex.quote(target)} in a browser")


@contextlib.contextmanager
def _bundle_to_export(options: argparse.Namespace, made: Study) -> Iterator[Path]:
    """The study's own explorer files, or others made for this export alone."""
    from zatlas.explorer.bundle.writing import bundle_of, write_bundle

    with_encoder = not options.single_file if options.encoder is None else options.encoder
    if with_encoder and not (options.model or options.with_originals or options.no_thumbnails):
        yield bundle_of(made, talk=_talk(options))
        return
    with tempfile.TemporaryDirectory(prefix="zatlas-") as spare:
        folder = Path(spare) / "explorer"
        write_bundle(
            made, folder, models=options.model, with_originals=options.with_originals,
            with_thumbnails=not options.no_thumbnails, with_encoder=with_encoder, talk=_talk(options),
        )  # fmt: skip
        yield folder


def _make_explorer(options: argparse.Namespace, made: Study) -> None:
    """The files of the explorer in the study; a study is complete without them, so that a failure is only told."""
    from zatlas.explorer.bundle.writing import bundle_of

    talk = _talk(options)
    try:
        bundle_of(made, talk=talk)
    except (ZatlasError, OSError) as err:
        talk.say(f"warning: the explorer's files were not made: {err}")


def _show_study(options: argparse.Namespace, made: Study) -> None:
    from zatlas.explorer.page import is_built
    from zatlas.studies import verbs as study_verbs

    page = made.folder / "report.html"
    summary = made.headline()
    _show(
        options,
        {"study": str(made.folder), "report": str(page), "models": summary},
        study_verbs.headline_text(made, summary),
    )
    folder = shlex.quote(str(made.folder))
    _next(options, f"zatlas explore {folder}" if is_built() else f"open {shlex.quote(str(page))} in a browser")


def _talk(options: argparse.Namespace) -> Talk:
    return terminal_talk(is_quiet=options.quiet, stop_requested=options.stop_requested)


def _show(options: argparse.Namespace, record: dict[str, Any], text: str) -> None:
    print(json.dumps(record, indent=1, default=str) if options.json else text)


def _next(options: argparse.Namespace, command: str) -> None:
    if not options.quiet and not options.json:
        print(f"next: {command}", file=sys.stderr)
