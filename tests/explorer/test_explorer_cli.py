"""The verbs explore and export, and what a study does for them."""

import contextlib
import http.cookiejar
import json
import os
import queue
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import webbrowser
from pathlib import Path

import pytest
from toy_explorer import TOKEN, toy_finished

from zatlas import files
from zatlas.cli import verbs
from zatlas.cli.flags import parser
from zatlas.cli.main import main
from zatlas.errors import DataError
from zatlas.explorer import page as page_module
from zatlas.explorer.bundle.writing import check_bundle
from zatlas.studies.study import Study


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study with results, without its report."""
    return toy_finished(tmp_path_factory.mktemp("finished"))


@pytest.fixture(autouse=True)
def with_a_page(page, monkeypatch):
    """The page of a few lines in place of the built one."""
    monkeypatch.setattr(page_module, "_STATIC", page)


def run(*arguments, capsys):
    code = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_study_makes_its_explorer_and_says_how_to_open_it(finished, tmp_path, capsys, monkeypatch):
    made = finished
    code, _, err = run("study", made.folder, "--no-explorer", capsys=capsys)
    assert code == 0, err
    assert not (made.folder / "explorer").exists()
    assert err.rstrip().splitlines()[-1] == f"next: zatlas explore {made.folder}"
    code, _, err = run("study", made.folder, capsys=capsys)
    assert code == 0, err
    assert check_bundle(made.folder / "explorer") == []
    assert files.verify(made.folder) == []
    at = (made.folder / "explorer").stat().st_mtime_ns
    assert run("study", made.folder, capsys=capsys)[0] == 0
    assert (made.folder / "explorer").stat().st_mtime_ns == at, "it was up to date"
    monkeypatch.setattr(page_module, "_STATIC", tmp_path / "none")
    _, _, err = run("study", made.folder, capsys=capsys)
    assert err.rstrip().splitlines()[-1].startswith(f"next: open {made.folder}/report.html")


def test_a_folder_is_exported_and_says_what_is_inside(finished, capsys, tmp_path):
    code, out, err = run("export", finished.folder, "-o", tmp_path / "my site", capsys=capsys)
    assert code == 0, err
    assert (tmp_path / "my site" / "index.html").is_file()
    manifest = json.loads((tmp_path / "my site" / "data" / "manifest.json").read_text())
    assert manifest["privacy"]["words"] in out
    assert all(line in out for line in manifest["privacy"]["contains"])
    assert "MB in all" in out
    assert err.rstrip().splitlines()[-1] == f"next: python3 -m http.server -d '{tmp_path}/my site'"


def test_one_file_with_choices(finished, capsys, tmp_path):
    before = (finished.folder / "explorer" / "manifest.json").read_bytes()
    file = tmp_path / "atlas.html"
    flags = ("--model", "z3", "--with-originals", "--no-thumbnails", "--json")
    code, out, err = run("export", finished.folder, "--single-file", file, *flags, capsys=capsys)
    assert code == 0, err
    record = json.loads(out)
    assert record["bytes"] == file.stat().st_size
    assert {"page", "decoder", "originals"} <= set(record["parts"])
    assert not {"encoder", "thumbnails"} & set(record["parts"])
    text = file.read_text()
    assert "data/z3/mean.f32" in text
    assert "data/z2/" not in text
    assert (finished.folder / "explorer" / "manifest.json").read_bytes() == before, "originals stay out of the study"
    _, out, err = run("export", finished.folder, "--single-file", file, capsys=capsys)
    assert "  - the encoder" not in out.splitlines()
    assert err.rstrip().splitlines()[-1] == f"next: open {file} in a browser"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["export", "STUDY"], 2, "export needs one place to write"),
        (["export", "STUDY", "-o", "a", "--single-file", "b.html"], 2, "export needs one place to write"),
        (["export", "STUDY", "-o", "a", "--model", "z9"], 2, "no model z9"),
        (["export", "STUDY", "--single-file", "atlas"], 2, "does not end in .html"),
        (["export", "nowhere", "-o", "a"], 65, "is not a study"),
        (["export"], 2, "the following arguments are required"),
        (["explore"], 2, "the following arguments are required"),
        (["explore", "nowhere"], 65, "is not a study"),
        (["explore", "STUDY", "--port", "many"], 2, "invalid int value"),
        (["explore", "STUDY", "--port", "70000", "--no-browser"], 2, "cannot listen on"),
        (["explore", "STUDY", "--port", "-4", "--no-browser"], 2, "cannot listen on"),
        (["explore", "STUDY", "--host", "0.0.0.0"], 2, "lets other computers reach the images"),
        (["explore", "STUDY", "--host", "nonsense.invalid", "--i-understand", "--no-browser"], 2, "cannot listen on"),
        (["explore", "STUDY", "--socket", "no/such/folder/x.sock"], 2, "cannot make the socket"),
    ],
)
def test_mistakes_are_one_sentence_with_a_code(finished, arguments, code, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = [str(finished.folder) if word == "STUDY" else word for word in arguments]
    found, out, err = run(*given, capsys=capsys)
    assert (found, out) == (code, "")
    assert err.startswith("error: ")
    assert message in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", [("explore",), ("export", "-o", "site")])
def test_without_the_built_page_it_says_so_at_once(finished, verb, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(page_module, "_STATIC", tmp_path / "static")
    code, _, err = run(verb[0], finished.folder, *verb[1:], capsys=capsys)
    assert code == 65
    assert "page was not built in this installation" in err
    assert "hatch_build.py" in err


def start(finished: Study, page: Path, *flags: str) -> subprocess.Popen[str]:
    """`zatlas explore` as a process of its own, with the page of a few lines."""
    code = (
        "import sys; from pathlib import Path; from zatlas.cli.main import main; from zatlas.explorer import page\n"
        f"page._STATIC = Path({str(page)!r})\n"
        f"sys.exit(main(['explore', {str(finished.folder)!r}, *{list(flags)!r}]))"
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_explore_prints_the_address_once_and_ends_with_ctrl_c(finished, page):
    process = start(finished, page, "--no-browser")
    assert process.stdout is not None
    link = process.stdout.readline().strip()
    assert link.startswith("http://127.0.0.1:")
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    with contextlib.closing(opener.open(link, timeout=60)) as answer:
        assert answer.url == link.partition("?")[0], "the address ends without the token"
        assert answer.read() == (page / "index.html").read_bytes()
    with contextlib.closing(opener.open(answer.url + "data/manifest.json", timeout=60)) as manifest:
        assert json.load(manifest)["server"] == {"decode": True, "images": True}
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        urllib.request.urlopen(answer.url, timeout=60)
    refused.value.close()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    assert err.splitlines() == ["press Ctrl-C to stop", "", "stopped"]


@pytest.mark.skipif(os.name != "posix", reason="a socket of POSIX")
def test_explore_through_a_socket(finished, page, tmp_path):
    path = tmp_path / "explorer.sock"
    process = start(finished, page, "--socket", str(path), "--json")
    assert process.stdout is not None
    shown = "".join(process.stdout.readline() for _ in range(3))
    assert json.loads(shown)["url"].startswith("http://localhost:8000/?t=")
    assert path.is_socket()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"ssh -L 8000:{path}" in err
    assert not path.exists()


class Browser(webbrowser.BaseBrowser):
    """Remembers what it was asked to open."""

    opened: list[str]

    def open(self, url: str, new: int = 0, autoraise: bool = True) -> bool:
        self.opened.append(url)
        return self.name == "good"


def test_the_browser_gets_a_ticket_for_one_use(finished, monkeypatch, capsys):
    browser = Browser("good")
    browser.opened = []
    monkeypatch.setattr(webbrowser, "get", lambda: browser)
    verbs._open_browser("http://127.0.0.1:1/?t=x")
    assert browser.opened == ["http://127.0.0.1:1/?t=x"]
    assert capsys.readouterr().err == ""
    browser.name = "broken"
    verbs._open_browser("http://127.0.0.1:1/?t=x")
    assert "open the address above" in capsys.readouterr().err
    for found in (lambda: webbrowser.GenericBrowser("w3m"), lambda: (_ for _ in ()).throw(webbrowser.Error("none"))):
        monkeypatch.setattr(webbrowser, "get", found)
        verbs._open_browser("http://127.0.0.1:1/?t=x")
        assert "no browser was found here" in capsys.readouterr().err


def test_what_the_browser_gets_is_not_the_token(monkeypatch, capsys):
    from zatlas.explorer.server.guard import AccessRules

    opened: queue.SimpleQueue[str] = queue.SimpleQueue()
    monkeypatch.setattr(verbs, "_open_browser", opened.put)
    options = parser().parse_args(["explore", "x", "--allowed-host", "hub", "--allowed-host", "lab:80"])
    assert options.allowed_host == ["hub", "lab:80"]
    access = AccessRules(token=TOKEN, port=5)
    verbs._show_address(options, "http://127.0.0.1:5/", access)
    address = opened.get(timeout=60)
    assert TOKEN not in address
    assert access.takes(address.partition("?t=")[2])
    assert opened.empty(), "once"
    assert capsys.readouterr().out == f"http://127.0.0.1:5/?t={TOKEN}\n"


def test_an_explorer_that_cannot_be_made_is_only_a_warning(finished, capsys, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise DataError("no space")

    monkeypatch.setattr("zatlas.explorer.bundle.writing.bundle_of", fail)
    options = parser().parse_args(["study", str(finished.folder), "-q"])
    options.stop_requested = lambda: False
    verbs._make_explorer(options, finished)
    assert capsys.readouterr().err == "warning: the explorer's files were not made: no space\n"
