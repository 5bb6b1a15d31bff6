"""Folders of single image files, whatever kinds of image the table knows.

A file is known by its first bytes, not by its name. Files of kinds that are not read are refused with a way to convert
them; files that are clearly no images (tables, notes, hidden files) are passed over.
"""

import logging
import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from zatlas.errors import DataError
from zatlas.images.readers.reader import Kinds, Reader, ReadOptions
from zatlas.images.readers.refused import refusal
from zatlas.images.source import DamagedImage, Found, Scan, printable

__all__ = ["read_folder"]

log = logging.getLogger(__name__)

_NOT_IMAGES = (
    ".csv", ".tsv", ".txt", ".md", ".rst", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".log",
    ".html", ".htm", ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".odt", ".ods", ".ppt", ".pptx", ".py", ".ipynb", ".r",
    ".m", ".sh", ".bat", ".db", ".lnk", ".url", ".sha256", ".md5", ".bib", ".tex",
)  # fmt: skip
_NOT_FOLDERS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN")
_SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def read_folder(root: Path, options: ReadOptions) -> Scan:
    """Find the images of a folder and its sub-folders, which become groups.

    The group is the first folder in which the paths differ. Folders called train, val and test are no groups but
    become a label column `source_split`; the folders below them are the groups. Without sub-folders, the pages of
    multi-page files stay together: each file is a group.

    Raises:
        DataError: there are no images.
    """
    root = root.resolve()
    scan = Scan("folder", "")
    notes: Counter[str] = Counter()
    paths: list[Path] = []
    position = n_files = 0
    for path in list(_files(root, scan, options.kinds)):
        name = path.relative_to(root)
        try:
            one = _images_of(path, options)
        except (DamagedImage, OSError) as err:
            reason = err.what if isinstance(err, DamagedImage) else f"cannot be opened: {err.strerror or err}"
            scan.rejected.append((printable(name.as_posix()), reason))
            position += 1
            continue
        if one is None:
            continue
        n_files += 1
        scan.files += one.files
        notes[one.note] += 1
        for k, found in enumerate(one.images):
            shown = printable(name.as_posix()) + (f"[{k}]" if len(one.images) > 1 else "")
            scan.images.append(Found(shown, position, found.source, labels=found.labels))
            paths.append(name)
            position += 1
    if not scan.images and not scan.rejected:
        raise DataError(
            f"{printable(root.name)} holds no images",
            hint="give a folder of PNG, JPEG or TIFF files, or an NPZ, NPY or HDF5 file",
        )
    for note, n in notes.items():
        if note:
            log.info("%d files: %s", n, note)
    _set_groups(scan, paths, has_pages=len(paths) > n_files)
    n_groups = len({found.group for found in scan.images} - {""})
    scan.why = f"folder of {n_files} image files" + (f" in {n_groups} groups" if n_groups else "")
    return scan


def _images_of(path: Path, options: ReadOptions) -> Scan | None:
    """The images of one file of a folder; None when it is clearly something else, such as a table.

    Raises:
        DamagedImage: it is damaged, or of a kind that is not read here.
        OSError: it cannot be opened.
    """
    kind = options.kinds.of(path, with_others=path.suffix.lower() not in _NOT_IMAGES)
    if isinstance(kind, Reader) and kind.is_image:
        return kind.open(path, options)
    if path.suffix.lower() in _NOT_IMAGES:
        return None
    raise DamagedImage(refusal(path, options.kinds.refused(path) or kind))


def _files(root: Path, scan: Scan, kinds: Kinds) -> Iterator[Path]:
    """Files below a folder in order of their paths, each once; links that leave the folder are set aside.

    A folder that is an image by itself comes as if it were a file.
    """
    seen: set[tuple[int, int]] = set()

    def below(folder: Path) -> Iterator[Path]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as err:
            scan.rejected.append((printable(folder.relative_to(root).as_posix()), f"cannot be opened: {err.strerror}"))
            return
        for entry in entries:
            path = Path(entry.path)
            shown = printable(path.relative_to(root).as_posix())
            if entry.name.startswith(".") or entry.name in _NOT_FOLDERS:
                continue
            try:
                if entry.is_symlink() and not path.resolve(strict=True).is_relative_to(root):
                    scan.rejected.append((shown, "is a link that leaves the folder, which is not followed"))
                    continue
                status = path.stat()
            except (OSError, RuntimeError) as err:
                scan.rejected.append((shown, f"is a link that leads nowhere: {getattr(err, 'strerror', None) or err}"))
                continue
            key = (status.st_dev, status.st_ino)
            if status.st_ino and key in seen:
                log.info("%s is a second name of a file or folder, read once", shown)
                continue
            seen.add(key)
            if stat.S_ISDIR(status.st_mode):
                kind = kinds.of(path)
                if isinstance(kind, Reader) and kind.is_image:
                    yield path
                elif isinstance(kind, Reader) and kind.open is read_folder:
                    yield from below(path)
                else:
                    scan.rejected.append((shown, refusal(path, kind)))
            elif stat.S_ISREG(status.st_mode):
                yield path
            else:
                log.info("%s is neither a file nor a folder, passed over", shown)

    status = root.stat()
    seen.add((status.st_dev, status.st_ino))
    yield from below(root)


def _set_groups(scan: Scan, paths: list[Path], *, has_pages: bool) -> None:
    folders = [list(path.parts[:-1]) for path in paths]
    depth = _depth_of_difference(folders)
    first = {folder[depth].lower() for folder in folders if len(folder) > depth}
    if len(first) >= 2 and first <= set(_SPLIT_FOLDERS):
        for found, folder in zip(scan.images, folders, strict=True):
            if len(folder) > depth:
                found.labels["source_split"] = _SPLIT_FOLDERS[folder[depth].lower()]
        folders = [folder[depth + 1 :] for folder in folders]
        depth = _depth_of_difference(folders)
    has_folders = any(len(folder) > depth for folder in folders)
    for found, folder, path in zip(scan.images, folders, paths, strict=True):
        if has_folders:
            found.group = printable(folder[depth]) if len(folder) > depth else "."
        elif has_pages:
            found.group = printable(path.name)


def _depth_of_difference(folders: list[list[str]]) -> int:
    depth = 0
    while folders and all(len(f) > depth + 1 for f in folders) and len({f[depth] for f in folders}) == 1:
        depth += 1
    return depth
