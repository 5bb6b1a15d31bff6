"""The page in a real browser: no errors, no requests, no sideways scrolling, both themes, on paper."""

import pytest

pytestmark = pytest.mark.browser


def opened(browser, made, **options):
    page = browser.new_page(**options)
    page.seen = {"errors": [], "requests": []}
    page.on("console", lambda message: page.seen["errors"].append(message.text))
    page.on("pageerror", lambda error: page.seen["errors"].append(str(error)))
    page.on("dialog", lambda dialog: (page.seen["errors"].append("dialog"), dialog.dismiss()))
    page.on("request", lambda request: page.seen["requests"].append(request.url))
    page.goto(made.page.as_uri())
    return page


def test_no_errors_and_no_requests(browser, made):
    page = opened(browser, made)
    page.wait_for_function("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.seen["errors"] == []
    assert [url for url in page.seen["requests"] if not url.startswith("data:")] == [made.page.as_uri()]
    page.close()


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_page_never_scrolls_sideways(browser, made, width):
    page = opened(browser, made, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def test_theme_follows_the_system_and_the_button(browser, made):
    page = opened(browser, made, color_scheme="dark", viewport={"width": 1280, "height": 800})
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(16, 19, 23)"
    assert page.locator("figure img.only-dark").first.is_visible()
    assert not page.locator("figure img.only-light").first.is_visible()
    page.locator("aside .theme").click()
    assert page.evaluate(ground) == "rgb(247, 247, 245)"
    assert page.locator("figure img.only-light").first.is_visible()
    assert page.seen["errors"] == []
    page.close()


def test_contents_fold_on_a_phone(browser, made):
    page = opened(browser, made, viewport={"width": 360, "height": 800})
    assert not page.locator("aside").is_visible()
    link = page.locator(".top-contents a", has_text="Findings")
    assert not link.is_visible()
    page.locator(".top-contents summary").click()
    link.click()
    assert page.url.endswith("#findings")
    page.close()


def test_paper_is_light_and_has_no_contents(browser, made):
    page = opened(browser, made, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("figure img.only-light").first.is_visible()
    assert not page.locator(".top-contents").is_visible()
    page.close()


CONTRAST = """() => {
  const channel = c => { c /= 255; return c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4 };
  const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number); return .2126*channel(r) + .7152*channel(g) + .0722*channel(b) };
  const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)$/.test(c) && c !== 'transparent') return c } return 'rgb(255, 255, 255)' };
  const low = [];
  for (const e of document.querySelectorAll('p, li, a, h1, h2, h3, dt, dd, td, th, figcaption, summary, button, b, code')) {
    if (!e.offsetParent || !e.textContent.trim()) continue;
    const a = light(getComputedStyle(e).color), b = light(ground(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) low.push([e.tagName, e.textContent.trim().slice(0, 30), ratio]);
  }
  return low.slice(0, 5);
}"""  # noqa: E501


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_of_wcag_aa(browser, made, scheme):
    page = opened(browser, made, color_scheme=scheme)
    assert page.evaluate(CONTRAST) == []
    page.close()
