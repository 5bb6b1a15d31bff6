"""The export: a folder, or one file, with everything inside and nothing of anybody else's overwritten."""

import base64
import gzip
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from zatlas.errors import DataError, UsageError
from zatlas.explorer import share
from zatlas.explorer.share import export_file, export_folder


class Scripts(HTMLParser):
    """What a browser's parser makes of a page: its scripts, its policy, and whether anything is loaded."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.metas: list[dict[str, str | None]] = []
        self.loaded: list[str] = []
        self.ended: list[str] = []
        self._is_script = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.loaded += [str(given[name]) for name in ("src", "href") if name in given]
        if tag == "script":
            self.scripts.append((given, ""))
        if tag == "meta":
            self.metas.append(given)
        self._is_script = tag == "script"

    def handle_endtag(self, tag):
        self.ended.append(tag)
        self._is_script = False

    def handle_data(self, data):
        if self._is_script:
            attributes, text = self.scripts[-1]
            self.scripts[-1] = attributes, text + data


def carried(text: str) -> dict[str, bytes]:
    """The files inside a single file."""
    inside = {}
    for attributes, content in Scripts(text).scripts:
        if "data-path" in attributes:
            assert attributes["type"] == "text/plain"
            inside[str(attributes["data-path"])] = gzip.decompress(base64.b64decode(content))
    return inside


def files_below(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def large(bundle, tmp_path) -> Path:
    """A bundle whose manifest knows of thumbnails, originals and networks."""
    folder = tmp_path / "large-bundle"
    shutil.copytree(bundle, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["thumbnails"] = {"files": [{"path": "z2/mean.f32"}]}
    manifest["originals"] = {"files": [{"path": "z3/mean.f32"}]}
    manifest["models"][1]["decoder"] = {"file": {"path": "z3/decoder.onnx"}}
    manifest["title"] = "</title><script>alert(1)</script>"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_a_folder_holds_the_page_and_the_bundle(bundle, page, tmp_path):
    made = export_folder(bundle, tmp_path / "new" / "site", page=page)
    wanted = {name: content for name, content in files_below(page).items() if name != "widget.js"}
    listed = {"manifest.json", *json.loads((bundle / "manifest.json").read_text())["files"]}
    wanted |= {f"data/{name}": (bundle / name).read_bytes() for name in listed}
    assert files_below(tmp_path / "new" / "site") == wanted
    assert made.bytes_in_all == sum(map(len, wanted.values())) == sum(made.parts.values())
    assert made.contents() == ["It holds latents and no image.", "  - latents of 24 images"]
    assert made.size().endswith("MB in all")


def test_only_an_earlier_export_is_replaced(bundle, page, tmp_path):
    out = tmp_path / "site"
    out.mkdir()
    export_folder(bundle, out, page=page)
    (out / "data" / "old.bin").write_bytes(b"old")
    export_folder(bundle, out, page=page)
    assert not (out / "data" / "old.bin").exists()
    (out / "CNAME").write_text("example.org")
    with pytest.raises(UsageError, match=r"(?s)holds other files, such as CNAME.*-o"):
        export_folder(bundle, out, page=page)
    assert (out / "CNAME").read_text() == "example.org"


@pytest.mark.parametrize("content", ["not json", "[]", '{"schema_version": 1}'])
def test_a_folder_of_somebody_else_is_left_alone(bundle, page, tmp_path, content):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "manifest.json").write_text(content)
    with pytest.raises(UsageError, match="which zatlas export did not write"):
        export_folder(bundle, tmp_path, page=page)
    assert files_below(tmp_path) == {"data/manifest.json": content.encode()}
    with pytest.raises(UsageError, match="is a file, not a folder"):
        export_folder(bundle, tmp_path / "data" / "manifest.json", page=page)


def test_the_working_folder_can_be_exported_to(bundle, page, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    export_folder(bundle, Path(), page=page)
    assert (tmp_path / "here" / "index.html").is_file()


def test_a_damaged_bundle_is_not_given_away(bundle, page, tmp_path):
    shutil.copytree(bundle, tmp_path / "bundle")
    (tmp_path / "bundle" / "z2" / "mean.f32").write_bytes(b"other")
    for export, out in ((export_folder, tmp_path / "site"), (export_file, tmp_path / "atlas.html")):
        with pytest.raises(DataError, match=r"files are damaged: z2/mean\.f32 was changed"):
            export(tmp_path / "bundle", out, page=page)
        assert not out.exists()


def test_one_file_carries_everything(bundle, page, tmp_path):
    made = export_file(bundle, tmp_path / "new" / "atlas.html", page=page)
    text = made.path.read_text(encoding="utf-8")
    inside = carried(text)
    listed = {"manifest.json", *json.loads((bundle / "manifest.json").read_text())["files"]}
    assert set(inside) == {"assets/ort.wasm", "licenses.txt", *(f"data/{name}" for name in listed)}
    assert all(content == (bundle / name[5:]).read_bytes() for name, content in inside.items() if "data/" in name)
    assert inside["assets/ort.wasm"] == (page / "assets" / "ort.wasm").read_bytes()
    assert made.bytes_in_all == len(text.encode()) == sum(made.parts.values())


def test_one_file_loads_nothing_and_may_not(bundle, page, tmp_path):
    text = export_file(bundle, tmp_path / "atlas.html", page=page).path.read_text(encoding="utf-8")
    parsed = Scripts(text)
    assert parsed.loaded == []
    policies = [meta["content"] for meta in parsed.metas if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policies == [share.POLICY]
    assert "http" not in share.POLICY
    assert "'self'" not in share.POLICY
    assert text.index("Content-Security-Policy") < text.index("<script"), "the policy comes before what it governs"
    assert text.index("charset") < 1024


def test_the_script_is_inline_and_cannot_end_early(bundle, page, tmp_path):
    text = export_file(bundle, tmp_path / "atlas.html", page=page).path.read_text(encoding="utf-8")
    modules = [content for attributes, content in Scripts(text).scripts if attributes.get("type") == "module"]
    assert modules == ['const end = "\\x3C/script>\\x3C!-- not the end -->";\nconsole.log(end);\n']
    assert text.count("</script>") == len(Scripts(text).scripts)


def test_the_title_is_text(large, page, tmp_path):
    text = export_file(large, tmp_path / "atlas.html", page=page).path.read_text(encoding="utf-8")
    assert "<title>&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;</title>" in text


def test_the_same_bundle_gives_the_same_bytes(bundle, page, tmp_path):
    first = export_file(bundle, tmp_path / "a.html", page=page).path.read_bytes()
    assert export_file(bundle, tmp_path / "b.html", page=page).path.read_bytes() == first


def test_only_an_earlier_file_is_replaced(bundle, page, tmp_path):
    out = tmp_path / "atlas.html"
    export_file(bundle, out, page=page)
    export_file(bundle, out, page=page)
    out.write_text("<!doctype html><p>mine</p>")
    with pytest.raises(UsageError, match="exists and zatlas export did not write it"):
        export_file(bundle, out, page=page)
    assert "mine" in out.read_text()
    with pytest.raises(UsageError, match=r"does not end in \.html"):
        export_file(bundle, tmp_path / "atlas", page=page)
    with pytest.raises(UsageError, match="is a folder"):
        export_file(bundle, tmp_path, page=page)


@pytest.mark.parametrize(
    "script",
    [
        'import{a as b}from"./chunk.js";b()',
        'import "./chunk.js";',
        'const m=await import("./chunk.js")',
        'export * from "./chunk.js"',
    ],
)
def test_a_page_of_several_scripts_cannot_go_into_one_file(bundle, page, tmp_path, script):
    shutil.copytree(page, tmp_path / "page")
    (tmp_path / "page" / "assets" / "app.js").write_text(script)
    with pytest.raises(DataError, match="is not one script"):
        export_file(bundle, tmp_path / "atlas.html", page=tmp_path / "page")


def test_a_page_with_a_style_sheet_cannot_go_into_one_file(bundle, page, tmp_path):
    shutil.copytree(page, tmp_path / "page")
    start = tmp_path / "page" / "index.html"
    start.write_text(start.read_text().replace("</head>", '<link rel="stylesheet" href="./assets/a.css"></head>'))
    with pytest.raises(DataError, match="is not one script"):
        export_file(bundle, tmp_path / "atlas.html", page=tmp_path / "page")


def test_a_large_file_says_what_makes_it_large(large, page, tmp_path, monkeypatch):
    made = export_file(large, tmp_path / "atlas.html", page=page)
    assert set(made.parts) == {"page", "thumbnails", "originals", "decoder", "latents and tables"}
    assert made.size().endswith("MB in all")
    monkeypatch.setattr(share, "LARGE_BYTES", 1000)
    words = made.size()
    assert re.search(r"MB in all, which is large: .*latents and tables", words)
    assert "--model with fewer models" in words
    folder = export_folder(large, tmp_path / "site", page=page)
    monkeypatch.setattr(share, "LARGE_BYTES", 10_600)
    assert "large" in folder.size(), "more data than that"
    monkeypatch.setattr(share, "LARGE_BYTES", folder.bytes_in_all - 100)
    assert "large" not in folder.size(), "the page itself does not count"
    monkeypatch.setattr(share, "LARGE_BYTES", 1000)
    assert "--no-thumbnails" in share.Exported(made.path, 2000, {"thumbnails": 1500, "page": 500}, {}).size()


def test_a_page_that_was_not_built(bundle, tmp_path):
    for export, out in ((export_folder, tmp_path / "site"), (export_file, tmp_path / "atlas.html")):
        with pytest.raises(DataError, match="page was not built"):
            export(bundle, out, page=tmp_path / "static")
