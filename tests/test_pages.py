"""The built documentation in a browser: pages render, images load, no link is dead, the search finds.

make docs && python -m pytest -m slow tests/test_pages.py
"""

import functools
import http.server
import shutil
import threading
from pathlib import Path

import pytest
from test_package import public_names

BUILT = Path(__file__).parents[1] / "docs" / "_build" / "html"
PAGES = sorted(
    str(path.relative_to(BUILT))
    for path in BUILT.rglob("*.html")
    if not path.is_relative_to(BUILT / "_static")
)
PUBLIC = {path.rpartition(".")[2] for path, _ in public_names()}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PAGES, reason="the documentation is not built: make docs"),
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="needs Chromium and its driver (Debian: chromium, chromium-driver)",
    ),
]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site():
    """The address of the pages."""
    handler = functools.partial(Quiet, directory=str(BUILT))
    with http.server.ThreadingHTTPServer(("localhost", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("headless=new", "no-sandbox", "window-size=1400,1000"):
        options.add_argument(f"--{argument}")
    # formulas are drawn by a script from the net: that does not hold up a page here
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_renders(page, site, browser):
    browser.get(f"{site}/{page}")
    (title,) = browser.find_elements("css selector", "main h1")
    assert title.is_displayed()
    assert title.text
    pictures = browser.execute_async_script(
        "const done = arguments[0], all = [...document.images];"
        "all.forEach(i => i.loading = 'eager');"
        "Promise.allSettled(all.map(i => i.decode())).then("
        "  () => done(all.map(i => [i.src, i.naturalWidth])))"
    )
    assert [source for source, width in pictures if width == 0] == []
    # what skae has is linked (what scikit-learn has would need its inventory, from the net)
    names = browser.execute_script(
        "return [...document.querySelectorAll('code.xref')].filter(e => !e.closest('a'))"
        ".map(e => e.textContent)"
    )
    assert {name.rpartition(".")[2].removesuffix("()") for name in names} & PUBLIC == set()
    # no list has letters: those are initials of authors, taken for a number
    lists = "ol.upperalpha, ol.upperroman, ol.loweralpha, ol.lowerroman"
    assert browser.find_elements("css selector", lists) == []
    links = browser.execute_script("return [...document.links].map(a => a.href)")
    ours = {link.partition("#")[0].removeprefix(f"{site}/") for link in links if site in link}
    assert [link for link in sorted(ours) if not (BUILT / link.partition("?")[0]).exists()] == []
    errors = [
        entry["message"]
        for entry in browser.get_log("browser")
        if entry["source"] in ("javascript", "network") and entry["message"].startswith(site)
    ]
    assert errors == []


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("JetAutoencoder", "generated/skae.JetAutoencoder.html"),
        ("checkpoint", "training.html"),
        ("annealer", "showers.html"),
    ],
)
def test_the_search_finds(words, page, site, browser):
    from selenium.webdriver.support.wait import WebDriverWait

    browser.get(f"{site}/search.html?q={words}")
    WebDriverWait(browser, 20).until(
        lambda _: "finished" in browser.find_element("css selector", "main").text
    )
    found = browser.execute_script(
        "return [...document.querySelectorAll('#search-results a')].map(a => a.pathname)"
    )
    assert f"/{page}" in found


@pytest.mark.parametrize("page", ["index.html", "jets.html", "auto_examples/index.html"])
def test_a_page_fits_a_phone(page, site, browser):
    browser.set_window_size(500, 900)
    browser.get(f"{site}/{page}")
    assert browser.execute_script(
        "const page = document.documentElement; return page.scrollWidth <= page.clientWidth"
    )
