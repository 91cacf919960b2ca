"""One Airflow, with what its queries run on, and one browser, for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.chromium import Browser, chromium, why_not
from tests.browser.pages import LoginPage
from tests.harness.development import Development, development

if TYPE_CHECKING:
    from selenium import webdriver

TOKEN = "staple-battery-horse-4402"
STARTING_SECONDS, STOPPING_SECONDS = 12, 10
"""Long enough to look at a task that waits for it."""

PICTURES = "PICTURES"
"""Variable with the folder for pictures of pages; none are made without it."""


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Start the browser."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture(scope="session")
def world(driver: webdriver.Chrome, request: pytest.FixtureRequest) -> Iterator[Development]:
    """Start Airflow, a cluster that wants TLS and a token, and a control plane."""
    with development(
        Path(__file__).parent / "dags",
        deployment="browser",
        cluster_options=("--tls", "--token", TOKEN, "--workers", "4"),
        plane_options=("--starting-seconds", str(STARTING_SECONDS), "--stopping-seconds", str(STOPPING_SECONDS)),
        env={"AIRFLOW__CORE__PARALLELISM": "8"},
    ) as world:
        yield world
        world.stack.keep_home = request.session.testsfailed > 0


@pytest.fixture(scope="session")
def browser(driver: webdriver.Chrome, world: Development) -> Browser:
    """Return the browser, signed in."""
    pictures = os.environ.get(PICTURES)
    browser = Browser(driver, world.stack.base_url, Path(pictures) if pictures else None)
    LoginPage(browser).sign_in("admin")
    return browser
