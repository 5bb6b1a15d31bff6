"""README, documentation and CI say the same, and what they tell people to type is understood."""

import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import zatlas
from zatlas.cli.flags import parser
from zatlas.config import StudyConfig, from_dict

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        *(page for page in (ROOT / "docs").rglob("*.md") if not {"_build", "generated"} & set(page.parts)),
    ]
)
EXAMPLES = sorted((ROOT / "examples").glob("*.toml"))


def blocks(text: str, language: str) -> list[str]:
    """Fenced code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_readme_opens_with_exactly_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    first, second, *others = blocks(text, "sh")
    assert first.count("\n") == second.count("\n") == 1
    assert first.startswith("python3 -m venv .venv && .venv/bin/pip install -c constraints.txt . && ")
    assert first.rstrip().endswith(".venv/bin/zatlas demo")
    assert second.startswith('python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e ".[test]" && ')
    assert ".venv/bin/python -m pytest" in second
    assert not any("venv" in line and "-m venv" in line for block in others for line in block.splitlines())
    assert text.index("```") < text.index("## "), "the commands come before the first section"


def test_ci_runs_the_commands_of_the_readme_word_for_word() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    pattern = re.search(r"grep -E '([^']+)' README\.md", script)
    assert pattern is not None
    found = [line for line in (ROOT / "README.md").read_text().splitlines() if re.search(pattern[1], line)]
    assert found == [block.strip() for block in blocks((ROOT / "README.md").read_text(), "sh")[:2]]
    assert re.search(r"^stage .* demo$", script, re.MULTILINE)
    assert "readme_command 1" in script
    assert re.search(r"^stage .* readme_command 2$", script, re.MULTILINE)


def test_ci_stops_at_the_first_failure() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "set -euo pipefail" in script
    assert "|| true" not in script
    assert "-p no:warnings" not in script


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.-]*==[a-z0-9.]+", pin) for pin in pins), "only NAME==VERSION"
    return dict(pin.split("==") for pin in pins)


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    names = {re.split(r"[<>=\[; ]", entry)[0].lower().replace("_", "-") for entry in wanted}
    assert names <= set(pinned())
    assert pinned()["torch"] == "2.13.0"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if not target.startswith(("http://", "https://", "mailto:")):
            path = target.partition("#")[0]
            assert not path or (page.parent / path).exists(), target


def commands() -> Iterator[tuple[str, str]]:
    """Every zatlas command that a page or an example shows."""
    for page in PAGES:
        for block in blocks(page.read_text(), "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                for part in line.split(" && "):
                    if re.match(r"\s*(\.venv/bin/)?zatlas ", part):
                        yield name_of(page), part.strip()
    for example in EXAMPLES:
        for line in re.findall(r"^#   (zatlas .*)$", example.read_text(), flags=re.MULTILINE):
            yield name_of(example), line


@pytest.mark.parametrize(("page", "command"), list(commands()))
def test_commands_shown_are_understood(page: str, command: str) -> None:
    _, *arguments = shlex.split(command, comments=True)
    options = parser().parse_args(arguments)
    assert options.verb == arguments[0]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_and_toml_shown_is_valid(page: Path) -> None:
    for block in blocks(page.read_text(), "python"):
        compile(block, name_of(page), "exec")
    for block in blocks(page.read_text(), "toml"):
        from_dict(StudyConfig, tomllib.loads(block), where=name_of(page))


def test_reference_lists_every_public_name() -> None:
    listed = set(re.findall(r"^   (\w+)$", (ROOT / "docs" / "reference" / "api.md").read_text(), flags=re.MULTILINE))
    assert set(zatlas.__all__) - {"__version__"} <= listed


def test_what_is_written_from_the_code_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs" / "_ext")
    import zatlas_reference

    for page, text in zatlas_reference.pages().items():
        if page.name == "cli.md" and sys.version_info >= (3, 13):
            continue  # from 3.13 on argparse lays out short options in another way
        assert page.read_text(encoding="utf-8") == text, f"{name_of(page)}: python docs/_ext/zatlas_reference.py"


def test_every_page_is_reached_from_an_index() -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        if {"_build", "generated"} & set(page.parts) or page.name == "index.md":
            continue
        assert page.stem in (page.parent / "index.md").read_text(), page


def test_pictures_are_small() -> None:
    for picture in (ROOT / "docs" / "_static").glob("*.png"):
        assert picture.stat().st_size < 400_000, picture


def test_the_version_is_the_one_that_the_changelog_is_about() -> None:
    """A release has the number at the top of the changelog; between releases it is the development of a later one."""
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    version = zatlas.__version__
    if headings[0] != "Unreleased":
        assert version == headings[0]
        return
    number, _, suffix = version.partition(".dev")
    assert suffix.isdecimal(), f"{version} was released or is none: main is the development of the next one"
    assert number not in headings
    assert [int(part) for part in number.split(".")] > [int(part) for part in headings[1].split(".")]
