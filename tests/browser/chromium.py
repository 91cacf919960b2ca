"""Chromium without a window, for the length of a test run."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from selenium import webdriver
from selenium.common.exceptions import ElementClickInterceptedException, StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.harness.waiting import wait_for

T = TypeVar("T")

WINDOW_SIZE = 1600, 2600
"""Of pixels: every form fits."""

PICTURE_SIZE = 1400, 900
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    f"--window-size={WINDOW_SIZE[0]},{WINDOW_SIZE[1]}",
    "--lang=en-US",
)
SEE_SECONDS = 120.0
CHANGING = (StaleElementReferenceException, ElementClickInterceptedException)
"""What a page that is drawn anew does to whoever looks at it: look again."""


class Browser:
    """A browser at one site, which waits for what it is told to look at.

    :param pictures: folder for pictures of pages, None for none.
    """

    def __init__(self, driver: webdriver.Chrome, site: str, pictures: Path | None = None) -> None:
        self.driver = driver
        self._site = site
        self._pictures = pictures

    def open(self, path: str) -> None:
        """Go to a page."""
        self.driver.get(self._site + path)

    def all(self, xpath: str) -> list[WebElement]:
        """Return the elements that there are."""
        return self.driver.find_elements(By.XPATH, xpath)

    def until(self, look: Callable[[], T | None], what: str, seconds: float = SEE_SECONDS) -> T:
        """Return what is to be seen once there is something."""

        def looked() -> T | None:
            with contextlib.suppress(*CHANGING):
                return look()
            return None

        return wait_for(looked, seconds, lambda: f"{what} at {self.driver.current_url}:\n{self.text()}")

    def see(self, xpath: str, seconds: float = SEE_SECONDS) -> WebElement:
        """Return the first visible element."""
        return self.until(
            lambda: next((found for found in self.all(xpath) if found.is_displayed()), None), xpath, seconds
        )

    def click(self, xpath: str) -> None:
        """Click the first visible element."""

        def clicked() -> bool | None:
            for found in self.all(xpath):
                if found.is_displayed() and found.is_enabled():
                    found.click()
                    return True
            return None

        self.until(clicked, f"{xpath} to click")

    def gone(self, xpath: str) -> None:
        """Wait until there is no such element any more."""
        self.until(lambda: not self.all(xpath) or None, f"end of {xpath}")

    def text(self) -> str:
        """Return the text of the page."""
        return self.driver.find_element(By.TAG_NAME, "body").text

    def picture(self, name: str, xpath: str | None = None) -> None:
        """Save what is to be seen, or of an element alone, if pictures are wanted."""
        if self._pictures is None:
            return
        self._pictures.mkdir(parents=True, exist_ok=True)
        file = str(self._pictures / f"{name}.png")
        if xpath is not None:
            self.see(xpath).screenshot(file)
            return
        self.driver.set_window_size(*PICTURE_SIZE)
        self.driver.save_screenshot(file)
        self.driver.set_window_size(*WINDOW_SIZE)


def why_not() -> str | None:
    """Return why no browser can be started here, None if one can."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return (
        f"no {' and no '.join(missing)} on the PATH: install Debian's chromium and chromium-driver" if missing else None
    )


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator[webdriver.Chrome]:
    """Run a browser until the block ends.

    :param folder: an empty one for its files.
    """
    options = webdriver.ChromeOptions()
    options.binary_location = _path("chromium")
    for flag in FLAGS:
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={folder / 'profile'}")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    service: Any = Service(_path("chromedriver"), log_output=str(folder / "chromedriver.log"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


def _path(command: str) -> str:
    path = shutil.which(command)
    assert path is not None, why_not()
    return path
