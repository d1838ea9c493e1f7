"""A real Chromium for the explorer's tests, where there is one."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NEEDED = "VITRAIL_NEEDS_BROWSER"
"""Set in CI: there, no browser is a failure."""

CONTRAST = """() => {
  // WCAG 2.2: the contrast of every text that can be seen with what is painted behind it.
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((c) => c / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const colour = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = colour(getComputedStyle(at).backgroundColor);
      if (found.length < 4 || found[3] === 1) return found.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const low = [];
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const left_out = element.closest("script, option, noscript, .heard");
    if (left_out || !walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const [a, b] = [luminance(colour(style.color).slice(0, 3)), luminance(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push(`${walker.currentNode.data.trim()}: ${ratio.toFixed(2)}`);
  }
  return low;
}"""


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser; the test is skipped, with the reason, where there is none."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _without("playwright is not installed: pip install playwright")
    if CHROMIUM is None:
        _without("no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def _without(reason: str) -> None:
    (pytest.fail if os.environ.get(NEEDED) else pytest.skip)(f"{reason}, to test the explorer in a browser")


_LOOKS = 1000
"""How often a test looks whether a page is ready."""


class Opened:
    """A page, what it complained of, and what it asked of any network."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(url)
        self.until("/^Layer.* (looks?|is looked) /.test(document.querySelector('#stage .said')?.textContent)")

    def until(self, condition: str) -> None:
        """Wait until an expression is true in the page."""
        # Not wait_for_function, which would evaluate text inside the page, as its content security policy forbids.
        for _ in range(_LOOKS):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"still not so: {condition}")

    def text(self, selector: str) -> str:
        """What an element shows, after what was done has been drawn."""
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return self.page.inner_text(selector)

    def said(self, pane: int = 1) -> str:
        return self.text(f"#stage .pane:nth-child({pane}) .said")

    def over(self, selector: str, down: float, right: float, act: Callable[[float, float], None] | None = None) -> None:
        """Move the mouse to a part of an element, or do something else there."""
        box = self.page.locator(selector).first.bounding_box()
        (act or self.page.mouse.move)(box["x"] + right * box["width"], box["y"] + down * box["height"])

    def keys(self, *names: str) -> None:
        for name in names:
            self.page.keyboard.press(name)
