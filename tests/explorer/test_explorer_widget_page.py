"""The page inside a notebook, in a real browser: a plain page plays the notebook, anywidget in Python answers."""

import base64
import json

import numpy as np
import pytest
from page_ground import decoded

from zatlas.explorer.notebook import widget
from zatlas.explorer.page import static_folder, widget_script

pytestmark = pytest.mark.browser

ADDRESS = "http://notebook.test/"
PLAIN_PAGE = """<!doctype html><html lang="en"><title>A notebook</title>
<body data-jp-theme-light="true"><textarea id="cell"></textarea><div id="out"></div></body></html>"""
NOTEBOOK = """async ([script, state]) => {
  class Model {
    listeners = new Map();
    changes = {};
    get = (name) => state[name];
    set = (name, value) => {
      if (JSON.stringify(state[name]) === JSON.stringify(value)) return;
      state[name] = this.changes[name] = value;
      this.tell(`change:${name}`);
    };
    save_changes = () => window.hearInPython(this.changes).finally((this.changes = {}));
    on = (name, listener) => this.listeners.set(name, (this.listeners.get(name) ?? new Set()).add(listener));
    off = (name, listener) => this.listeners.get(name)?.delete(listener);
    tell = (name, ...given) => this.listeners.get(name)?.forEach((listener) => listener(...given));
    count = () => [...this.listeners.values()].reduce((sum, listeners) => sum + listeners.size, 0);
    send = async (content) => {
      const [answer, packed] = await window.askPython(content);
      const views = packed.map((text) => {
        const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
        const among = new Uint8Array(bytes.length + 8); // buffers begin anywhere in a message
        among.set(bytes, 3);
        return new DataView(among.buffer, 3, bytes.length);
      });
      this.tell('msg:custom', answer, views);
    };
  }
  const url = URL.createObjectURL(new Blob([script], { type: 'text/javascript' }));
  const made = (await import(url)).default;
  window.model = new Model();
  window.heard = [];
  document.addEventListener('keydown', (event) => window.heard.push(event.key));
  window.show = () => {
    const el = document.createElement('div');
    document.querySelector('#out').append(el);
    return { el, end: made.render({ model: window.model, el }) };
  };
  window.views = [];
}"""
HOST = "window.views[{}].el.firstElementChild.shadowRoot.querySelector('.zatlas')"


class Notebook:
    """A page that shows a widget, and the Python side of that widget."""

    def __init__(self, page, shown) -> None:
        self.page, self.shown = page, shown
        self.sent: list = []
        shown.send = lambda content, buffers=None: self.sent.append((content, buffers or []))
        page.expose_binding("askPython", lambda _, content: self._answer(content))
        page.expose_binding("hearInPython", lambda _, changes: shown.set_state(changes))
        page.route(ADDRESS, lambda route: route.fulfill(body=PLAIN_PAGE, content_type="text/html"))
        page.goto(ADDRESS)
        names = ("height", "selection", "recipe", "z", "model", "theme")
        state = {name: getattr(shown, name) for name in names}
        page.evaluate(NOTEBOOK, [widget_script().read_text(encoding="utf-8"), state])

    def _answer(self, content):
        self.shown._handle_custom_msg(content, [])
        answer, buffers = self.sent.pop()
        return answer, [base64.b64encode(buffer).decode() for buffer in buffers]

    def show(self) -> None:
        """Show the widget once more."""
        self.page.evaluate("() => { window.views.push(window.show()); }")
        number = self.page.evaluate("window.views.length") - 1
        self.page.wait_for_function(f"{HOST.format(number)}.zatlas !== undefined", timeout=30_000)

    def app(self, what: str, view: int = 0, given=None):
        """A part of the page's app, by the text of an expression of `app` and `el`."""
        host = HOST.format(view)
        return self.page.evaluate(
            f"async (given) => {{ const el = {host}; const app = el.zatlas; return {what}; }}", given
        )

    def say(self, **traits) -> None:
        """Set traits in Python, as a cell would."""
        for name, value in traits.items():
            setattr(self.shown, name, value)
            for told in dict.fromkeys((name, "recipe")):
                self.page.evaluate("([n, v]) => model.set(n, v)", [told, getattr(self.shown, told)])

    def rest(self) -> None:
        """Until what changed in the page is told."""
        self.page.wait_for_timeout(220)


@pytest.fixture(scope="module")
def notebook(browser, page_study, page_bundle):
    """A notebook that shows the explorer of the phantom study."""
    script = widget_script().read_text(encoding="utf-8")
    shown = widget._widget_class()(page_study, page_bundle, static_folder(), script, "z6", 700)
    context = browser.new_context(viewport={"width": 1200, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    made = Notebook(page, shown)
    made.show()
    yield made
    context.close()
    shown.close()
    assert errors == []


@pytest.fixture(autouse=True)
def calm(notebook):
    """Each test begins with one view and nothing selected."""
    notebook.app("app.store.set({ selection: null, tab: 'explore', tool: 'pan', theme: 'system', focus: null })")
    notebook.app(
        "(await app.load('z6'), app.store.set({ model: 'z6', z: [0, 0, 0, 0, 0, 0], origin: { kind: 'mean' } }))"
    )
    notebook.rest()


def test_it_draws_with_its_styles_in_the_cell(notebook):
    page = notebook.page
    page.locator("[data-map] canvas").first.wait_for()
    box = page.locator(".zatlas.embedded").bounding_box()
    assert (box["height"], notebook.app("getComputedStyle(el).display")) == (700, "grid")
    assert page.evaluate("document.adoptedStyleSheets.length") == 0, "the styles stay in the cell"
    assert notebook.app("el.scrollHeight <= el.clientHeight"), "the foot stays in view"
    page.locator("figure[data-generated] canvas").first.wait_for()
    assert notebook.app("app.atlas.source.kind") == "notebook"
    page.click("#tab-run")
    page.wait_for_selector("main.tab-run")
    assert page.locator("[data-copy-link]").count() == 0, "a link to a cell leads nowhere"


@pytest.mark.parametrize("way", ["app.decoder.decode(model.info, given)", "app.atlas.source.decode('z6', given)"])
def test_pictures_equal_those_of_torch(notebook, page_study, way):
    z = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    script = (
        f"(async () => {{ const model = await app.load('z6'); const x = await {way}; return [...(x.data ?? x)]; }})()"
    )
    expected = decoded(page_study, "z6", z)
    found = np.asarray(notebook.app(f"await {script}", given=z.tolist()), np.float32)
    assert np.abs(found.reshape(expected.shape) - expected).max() < 1e-4


def test_python_decodes_what_is_too_heavy_for_the_browser(notebook):
    where = "app.decoder.runsIn({ ...app.atlas.manifest.models[0], decoder: null })"
    assert notebook.app(where) == {"kind": "server"}
    refusal = "await app.atlas.source.decode('z6', [[null]]).catch((error) => error.message)"
    assert notebook.app(refusal) == "each latent must be a list of 6 numbers from -1000 to 1000"


def test_the_image_comes_at_its_full_resolution(notebook):
    notebook.app("app.store.set({ focus: 3 })")
    notebook.page.get_by_text("Full resolution").click()
    image = notebook.page.locator("img.full")
    image.wait_for()
    notebook.page.wait_for_function("(image) => image.complete", arg=image.element_handle())
    assert image.evaluate("(image) => image.naturalWidth") == 32


def test_a_region_drawn_in_the_page_is_read_in_python(notebook):
    notebook.app("app.store.set({ tool: 'box' })")
    box = notebook.page.locator("[data-map]").bounding_box()
    mouse = notebook.page.mouse
    mouse.move(box["x"] + 5, box["y"] + 5)
    mouse.down()
    mouse.move(box["x"] + box["width"] - 5, box["y"] + box["height"] - 5, steps=3)
    mouse.up()
    notebook.rest()
    assert notebook.shown.selection == notebook.app("app.store.get().selection.rows")
    assert len(notebook.shown.selected) == len(notebook.shown.selection) > 100
    assert json.loads(notebook.shown.recipe)[0]["kind"] == "region"
    assert notebook.shown.z == [0] * 6


def test_what_python_sets_is_shown(notebook):
    notebook.say(selection=[3, 1, 2])
    rows = {"rows": [1, 2, 3], "recipe": [{"kind": "rows", "mode": "replace", "rows": [1, 2, 3]}]}
    assert notebook.app("app.store.get().selection") == rows
    notebook.rest()
    assert notebook.shown.selection == [3, 1, 2], "the page does not sort what Python holds"
    notebook.say(z=[0.5] * 6, theme="dark")
    assert notebook.app("app.store.get().z") == [0.5] * 6
    notebook.page.wait_for_function(f"{HOST.format(0)}.dataset.theme === 'dark'")
    notebook.say(model="z2")
    notebook.page.wait_for_function(f"{HOST.format(0)}.zatlas.store.get().model === 'z2'")
    notebook.rest()
    assert (notebook.shown.model, notebook.shown.selection) == ("z2", [3, 1, 2])
    np.testing.assert_allclose(notebook.shown.z, notebook.app("app.atlas.manifest.models[0].pca.mean"))


def test_it_follows_the_theme_of_the_notebook(notebook):
    for is_light, theme in (("false", "dark"), ("true", "light")):
        notebook.page.evaluate("(is) => { document.body.dataset.jpThemeLight = is; }", is_light)
        notebook.page.wait_for_function(f"{HOST.format(0)}.dataset.theme === '{theme}'")


def test_keys_stay_where_they_are_pressed(notebook):
    page = notebook.page
    page.click("#cell")
    for key in "b2?":
        page.keyboard.press(key)
    assert page.evaluate("heard.splice(0).join('')") == "b2?"
    assert (notebook.app("app.store.get().tool"), notebook.app("app.store.get().tab")) == ("pan", "explore")
    page.locator("[data-map]").focus()
    for key in ("b", "y", "Enter", "2", "Control+z", "1"):
        page.keyboard.press(key)
        page.wait_for_timeout(60)
    assert page.evaluate("heard.splice(0)") == ["Control"], "no key reaches the cells"
    assert (notebook.app("app.store.get().tool"), notebook.app("app.store.get().tab")) == ("box", "explore")
    page.keyboard.press("Control+Enter")
    assert "Enter" in page.evaluate("heard.splice(0)"), "the keys that run a cell do"


def test_shift_and_the_mouse_mark_no_cells(notebook):
    page = notebook.page
    page.evaluate("() => { window.presses = 0; out.addEventListener('mousedown', () => presses++, true); }")
    place = notebook.app("el.querySelector('[data-map]').zatlasMap.place(5)")
    page.locator("[data-map]").click(position=place, modifiers=["Shift"])
    assert (page.evaluate("presses"), notebook.app("app.store.get().selection.rows.length")) == (0, 1)
    page.locator("[data-map]").click(position=place)
    assert page.evaluate("presses") == 1


def test_two_views_of_one_widget_agree_and_leave_nothing_behind(notebook):
    page = notebook.page
    notebook.say(selection=[4, 5])
    workers, listeners = len(page.workers), page.evaluate("model.count()")
    notebook.show()
    assert notebook.app("app.store.get().selection.rows", 1) == [4, 5], "what is selected is selected in a new view"
    step = "{ kind: 'filters', mode: 'replace' }"
    notebook.app(f"app.store.set({{ selection: {{ rows: [7, 9], recipe: [{step}] }} }})", 1)
    notebook.rest()
    assert notebook.app("app.store.get().selection") == notebook.app("app.store.get().selection", 1)
    assert json.loads(notebook.shown.recipe) == [{"kind": "filters", "mode": "replace"}]
    notebook.app("app.decoder.decode(app.atlas.manifest.models[0], [[0, 0]]).then(() => 0)", 1)
    page.evaluate("() => { const { el, end } = views.pop(); end(); window.left = el.childElementCount; }")
    page.wait_for_timeout(100)
    assert page.evaluate("left") == 0
    assert (len(page.workers), page.evaluate("model.count()")) == (workers, listeners)
    assert notebook.app("app.store.get().selection.rows") == [7, 9], "the other view goes on"


def test_a_view_may_close_while_it_opens(notebook):
    page = notebook.page
    listeners = page.evaluate("model.count()")
    assert page.evaluate("() => { const { el, end } = show(); end(); return el.childElementCount; }") == 0
    page.wait_for_timeout(500)
    assert page.evaluate("model.count()") == listeners
