"""The explorer to give away: a folder for any web host, or one HTML file that opens with a double click.

The folder is the page and, under `data/`, the bundle. The single file carries the same: the script inline, every other
file compressed in a `<script type="text/plain">` of its own. It makes no request, and its content security policy lets
it make none.
"""

import base64
import gzip
import html
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zatlas import files
from zatlas.errors import DataError, UsageError
from zatlas.explorer.bundle.writing import check_bundle
from zatlas.explorer.page import APP, START, not_built, page_files

__all__ = ["LARGE_BYTES", "POLICY", "Exported", "check_file", "check_folder", "export_file", "export_folder"]

LARGE_BYTES = 15_000_000
"""Above this an export is slow to open and to send, and the person is told what makes it so large."""

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' blob:; style-src 'unsafe-inline'; "
    "img-src data: blob:; worker-src blob:; connect-src data: blob:; base-uri 'none'; form-action 'none'"
)
_MARK = '<meta name="generator" content="zatlas explorer">'
_SCRIPT = re.compile(r'<script type="module"[^>]*\bsrc="\./assets/app\.js"[^>]*></script>')
_CHARSET = re.compile(r'<meta charset="utf-8"\s*/?>', re.IGNORECASE)
_TITLE = re.compile(r"<title>.*?</title>", re.DOTALL)
_OTHER_FILES = re.compile(r"""\b(?:import|export)\b[^;"'()`]*\bfrom\s*["']\.|\bimport\s*\(?\s*["']\.""")
_FLAGS = {"thumbnails": "--no-thumbnails", "encoder": "--no-encoder", "originals": "no --with-originals"}


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    """The folder or file."""
    bytes_in_all: int
    """Its size [bytes]."""
    parts: dict[str, int]
    """Size of each kind of content, as stored there [bytes]."""
    manifest: dict[str, Any]
    """Of the bundle."""

    def contents(self) -> list[str]:
        """What is inside and who should see it, in sentences."""
        privacy = self.manifest.get("privacy", {})
        lines = [str(privacy.get("words", "")), *(f"  - {line}" for line in privacy.get("contains", []))]
        return [line for line in lines if line.strip()]

    def size(self) -> str:
        """Its size in words, and what would make a large one smaller."""
        text = f"{_megabytes(self.bytes_in_all)} in all"
        page_of_a_folder = self.parts.get("page", 0) if self.path.is_dir() else 0  # which a host sends compressed
        if self.bytes_in_all - page_of_a_folder <= LARGE_BYTES:
            return text
        largest = sorted(self.parts.items(), key=lambda part: -part[1])[:3]
        listed = ", ".join(f"{name} {_megabytes(size)}" for name, size in largest)
        flags = [_FLAGS[name] for name, size in largest if name in _FLAGS and size > self.bytes_in_all / 20]
        if len(self.manifest.get("models", [])) > 1:
            flags.append("--model with fewer models")
        smaller = f"; smaller with {' or '.join(flags)}" if flags else ""
        return f"{text}, which is large: {listed}{smaller}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def export_folder(bundle: Path, out: Path, *, page: Path | None = None) -> Exported:
    """Write index.html, assets/ and data/ into a folder, whole or not at all.

    Args:
        bundle: The explorer's files of a study.
        out: A new or empty folder, or an earlier export, which is replaced.
        page: Folder of the built page; by default the one of this installation.

    Raises:
        UsageError: `out` holds something else.
        DataError: the page was not built, or the bundle is damaged.
    """
    out = out.resolve()
    check_folder(out)
    carried = {**page_files(page), **_data_files(bundle)}
    files.make_folder(out.parent)
    with files.new_folder(out) as temporary:
        for name, path in carried.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, temporary / name)
    manifest = files.read_json(bundle / "manifest.json")
    sizes = {name: (out / name).stat().st_size for name in carried}
    return Exported(out, sum(sizes.values()), _parts(sizes, manifest), manifest)


def check_folder(out: Path) -> None:
    """Whether a folder may be exported to; asked before the long work.

    Raises:
        UsageError: it holds something that zatlas export did not write.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out} is a file, not a folder", hint="give a new folder with -o, or --single-file FILE.html")
    found = {path.name for path in out.iterdir()}
    others = sorted(found - {START, "assets", "data", "licenses.txt"})
    is_ours = not others and (out / "data" / "manifest.json").is_file() and _is_manifest(out / "data" / "manifest.json")
    if found and not is_ours:
        what = f"such as {others[0]}" if others else "which zatlas export did not write"
        raise UsageError(f"{out} holds other files, {what}", hint="give a new or empty folder with -o")


def _is_manifest(path: Path) -> bool:
    try:
        manifest = files.read_json(path)
    except DataError:
        return False
    return isinstance(manifest, dict) and {"schema_version", "atlas_hash", "files"} <= set(manifest)


def _data_files(bundle: Path) -> dict[str, Path]:
    """The files of a bundle by their path below the page."""
    problems = check_bundle(bundle)
    changed = [line for line in problems if not line.endswith("is not listed")]
    if changed:
        hint = f"remove the folder {bundle}; it is made again"
        raise DataError(f"the explorer's files are damaged: {changed[0]}", where=str(bundle), hint=hint)
    listed = files.read_json(bundle / "manifest.json")["files"]
    return {f"data/{name}": bundle / name for name in ["manifest.json", *sorted(listed)]}


def export_file(bundle: Path, out: Path, *, page: Path | None = None) -> Exported:
    """Write the whole explorer into one HTML file that makes no request.

    Args:
        bundle: The explorer's files of a study.
        out: The file; an earlier export is replaced.
        page: Folder of the built page; by default the one of this installation.

    Raises:
        UsageError: `out` is something else.
        DataError: the page was not built, is not one script, or the bundle is damaged.
    """
    check_file(out)
    built = page_files(page)
    manifest = files.read_json(bundle / "manifest.json")
    inside = {name: path for name, path in built.items() if name not in (START, APP)} | _data_files(bundle)
    before, after = _document(built, str(manifest.get("title", "")))
    sizes = {START: len(before.encode()) + len(after.encode())}
    files.make_folder(out.resolve().parent)
    with files.new_file(out) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(before)
        for name, script in _carried(inside):
            sizes[name] = len(script)
            stream.write(script)
        stream.write(after)
    return Exported(out, out.stat().st_size, _parts(sizes, manifest), manifest)


def check_file(out: Path) -> None:
    """Whether a single file may be exported to; asked before the long work.

    Raises:
        UsageError: its name is not that of a page, or it is something that zatlas export did not write.
    """
    if out.is_dir():
        raise UsageError(f"{out} is a folder", hint="--single-file needs the name of a file, such as atlas.html")
    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--single-file {out} does not end in .html", hint="a browser opens it by that ending")
    if out.exists() and _MARK not in out.read_bytes()[:4096].decode("utf-8", "replace"):
        raise UsageError(f"{out} exists and zatlas export did not write it", hint="give another name")


def _document(built: Mapping[str, Path], title: str) -> tuple[str, str]:
    """The page up to and from where the carried files go, with its script inside."""
    text = built[START].read_text(encoding="utf-8")
    script = built[APP].read_text(encoding="utf-8")
    is_whole = _SCRIPT.search(text) and _CHARSET.search(text) and "</body>" in text
    if not is_whole or 'rel="stylesheet"' in text or _OTHER_FILES.search(script):
        raise DataError("the built page is not one script, so it cannot go into one file", hint=not_built().hint)
    head = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    inline = f'<script type="module">{_as_inline(script)}</script>'
    text = _SCRIPT.sub(lambda _: "", text, count=1)
    text = _CHARSET.sub(lambda found: f"{found[0]}\n{_MARK}\n{head}", text, count=1)
    text = _TITLE.sub(lambda _: f"<title>{html.escape(title or 'zatlas explorer')}</title>", text, count=1)
    before, after = text.rsplit("</body>", 1)
    return before, f"{inline}\n</body>{after}"


def _as_inline(script: str) -> str:
    """A script that an HTML parser reads to its end: what would end it, or begin a comment, stands in strings only."""
    return re.sub(r"<(?=/script|!--)", lambda _: "\\x3C", script, flags=re.IGNORECASE)


def _carried(files: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Each file as a script element of plain text: base64 of gzip."""
    for name, path in files.items():
        packed = base64.b64encode(gzip.compress(path.read_bytes(), 9, mtime=0)).decode("ascii")
        yield name, f'<script type="text/plain" data-path="{html.escape(name)}">{packed}</script>\n'


def _parts(sizes: Mapping[str, int], manifest: dict[str, Any]) -> dict[str, int]:
    """Sizes added up by kind of content."""
    kinds: dict[str, str] = {}
    for kind in ("thumbnails", "originals"):
        sheets = manifest.get(kind) or {"files": []}
        kinds |= {f"data/{file['path']}": kind for file in sheets["files"]}
    for model in manifest.get("models", []):
        for kind in ("decoder", "encoder"):
            if model.get(kind):
                kinds[f"data/{model[kind]['file']['path']}"] = kind
    parts: dict[str, int] = {}
    for name, size in sizes.items():
        kind = kinds.get(name, "latents and tables" if name.startswith("data/") else "page")
        parts[kind] = parts.get(kind, 0) + size
    return parts
