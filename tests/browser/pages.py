"""The pages of Airflow's user interface, as far as tests use them."""

from __future__ import annotations

import json
from typing import Any, NamedTuple
from urllib.parse import quote

from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.browser.chromium import SEE_SECONDS, Browser

STANDARD, EXTRA = "Standard Fields", "Extra Fields"
"""Sections of the form, of which one is open at a time."""

DIALOG = "//div[@role='dialog'][@data-state='open']"

PASTE = """
const data = new DataTransfer();
data.setData("text/plain", arguments[1]);
arguments[0].dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true}));
"""
"""Typed, JSON would be reformatted by Airflow 3.3.2 in the middle of it."""


LINE = """
const text = [...arguments[0].childNodes].find(node => node.nodeType == 3 && node.data.includes(arguments[1]));
const range = document.createRange(), begin = text.data.indexOf(arguments[1]);
range.setStart(text, begin);
range.setEnd(text, begin + arguments[1].length);
const {left, top} = range.getBoundingClientRect(), style = getComputedStyle(arguments[0]);
return {left, top, font: style.fontFamily, spaces: style.whiteSpaceCollapse};
"""


class Field(NamedTuple):
    """What a form shows of one field.

    :param widget: ``text``, ``number``, ``password``, ``multiline``, ``switch``, ``select`` or ``json``.
    """

    label: str
    help: str
    placeholder: str
    widget: str


class Answer(NamedTuple):
    """What the Test button tells."""

    title: str
    text: str


class LoginPage:
    """Where people sign in."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    def sign_in(self, user: str) -> None:
        """Sign in as a user whose password equals the name."""
        browser = self._browser
        browser.open("/")
        browser.see("//input[@name='username']").send_keys(user)
        browser.see("//input[@name='password']").send_keys(user)
        browser.click("//button[@type='submit']")
        browser.until(lambda: "/auth/login" not in browser.driver.current_url or None, "end of the login")


class ConnectionForm:
    """The form of one connection."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    def choose(self, type_name: str) -> None:
        """Choose the type of the connection."""
        self._browser.see(f"{DIALOG}//input[@role='combobox']").send_keys(type_name)
        self._browser.click(f"//div[@role='option'][normalize-space()='{type_name}']")
        self._open(STANDARD)

    def standard(self) -> dict[str, Field]:
        """Return the standard fields that are shown, by name."""
        self._open(STANDARD)
        section = f"{DIALOG}//div[@data-part='item'][button[normalize-space()='{STANDARD}']]"
        inputs = self._browser.all(f"{section}//*[(self::input or self::textarea) and @name]")
        return {str(found.get_attribute("name")): self._field(found) for found in inputs if found.is_displayed()}

    def extra(self, names: list[str]) -> dict[str, Field]:
        """Return the fields of the type that are shown, by name."""
        return {name: self._field(self._extra(name)) for name in names}

    def options(self, name: str) -> list[str]:
        """Return what a select offers."""
        box = self._extra(name).find_element("xpath", ".//input[@role='combobox']")
        box.send_keys(Keys.ARROW_DOWN)
        self._browser.see("//div[@role='option']")
        found = [option.text for option in self._browser.all("//div[@role='option']")]
        box.send_keys(Keys.ESCAPE if not found else Keys.TAB)
        self._browser.gone("//div[@role='option']")
        return found

    def fill(self, name: str, value: Any) -> None:
        """Fill in a standard field."""
        if name != "connection_id":
            self._open(STANDARD)
        self._insert(self._browser.see(f"{DIALOG}//*[@name='{name}']"), str(value))

    def fill_extra(self, name: str, value: Any) -> None:
        """Fill in a field of the type, whatever its widget is."""
        found = self._extra(name)
        widget = self._field(found).widget
        if widget == "switch":
            if (found.get_attribute("data-state") == "checked") is not value:
                found.click()
        elif widget == "select":
            found.find_element("xpath", ".//input[@role='combobox']").send_keys(value)
            self._browser.click(f"//div[@role='option'][normalize-space()='{value}']")
        elif widget == "json":
            editor = found.find_element("xpath", ".//div[@role='textbox']")
            editor.send_keys(Keys.CONTROL, "a")
            self._browser.driver.execute_script(PASTE, editor, json.dumps(value))
        else:
            self._insert(found, str(value))

    def save(self) -> None:
        """Save, and wait until the form has gone."""
        self._browser.click(f"{DIALOG}//button[normalize-space()='Save']")
        self._browser.gone(DIALOG)

    def _insert(self, found: WebElement, text: str) -> None:
        """Put a text in the place of what is there, at once: keys in quick succession get lost."""
        found.send_keys(Keys.CONTROL, "a")
        self._browser.driver.execute_cdp_cmd("Input.insertText", {"text": text})

    def _open(self, section: str) -> None:
        xpath = f"{DIALOG}//button[@data-part='item-trigger'][normalize-space()='{section}']"
        if self._browser.see(xpath).get_attribute("aria-expanded") == "false":
            self._browser.click(xpath)
        self._browser.see(f"{DIALOG}//div[@data-part='item'][button[normalize-space()='{section}']]//label")

    def _extra(self, name: str) -> WebElement:
        self._open(EXTRA)
        widget = f"{DIALOG}//*[@id='element_{name}' or @id='switch:element_{name}']"
        return self._browser.see(f"{widget}[not(self::div) or .//input[@role='combobox'] or .//div[@role='textbox']]")

    @staticmethod
    def _field(found: WebElement) -> Field:
        root = found.find_element("xpath", "./ancestor::div[@data-scope='field'][@data-part='root'][1]")
        helps = root.find_elements("xpath", ".//span[@data-part='helper-text']")
        return Field(
            label=root.find_element("xpath", ".//label[@data-part='label']").text,
            help=helps[0].text if helps else "",
            placeholder=found.get_attribute("placeholder") or "",
            widget=_widget(found),
        )


class ConnectionList:
    """The list of connections, with the Test button of each."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    def open(self) -> None:
        """Go there."""
        self._browser.open("/connections")
        self._browser.see("//button[normalize-space()='Add Connection']")

    def add(self) -> ConnectionForm:
        """Begin a new connection."""
        self._browser.click("//button[normalize-space()='Add Connection']")
        return ConnectionForm(self._browser)

    def edit(self, conn_id: str) -> ConnectionForm:
        """Open the form of a connection."""
        self._browser.click(f"{self._row(conn_id)}//button[@aria-label='Edit Connection']")
        return ConnectionForm(self._browser)

    def test(self, conn_id: str) -> Answer:
        """Press the Test button of a connection, and return the answer."""
        toast = "//div[@data-scope='toast'][@data-part='root']"
        for close in self._browser.all(f"{toast}//button[@data-part='close-trigger']"):
            close.click()
        self._browser.gone(toast)
        self._browser.click(f"{self._row(conn_id)}//button[@aria-label='Test Connection']")
        title = self._browser.see(f"{toast}//*[@data-part='title']").text
        return Answer(title, self._browser.see(f"{toast}//*[@data-part='description']").text)

    @staticmethod
    def _row(conn_id: str) -> str:
        return f"//tr[td[@data-testid='table-cell-connection_id'][normalize-space()='{conn_id}']]"


class DagPage:
    """The page of a DAG."""

    def __init__(self, browser: Browser, dag_id: str) -> None:
        self._browser = browser
        self._dag_id = dag_id

    def trigger(self) -> None:
        """Start a run by hand; it is there a moment later."""
        self._browser.open(f"/dags/{quote(self._dag_id)}")
        self._browser.click("//button[@data-testid='trigger-dag-button']")
        self._browser.click(f"{DIALOG}//button[normalize-space()='Trigger']")


class RunPage:
    """The page of a DAG run."""

    def __init__(self, browser: Browser, dag_id: str, run_id: str) -> None:
        self._browser = browser
        self._path = f"/dags/{quote(dag_id)}/runs/{quote(run_id, safe='')}"

    def open(self) -> None:
        """Go there."""
        self._browser.open(self._path)

    def wait_for_state(self, state: str, seconds: float = SEE_SECONDS) -> None:
        """Wait until the page, which looks by itself, shows a state of the run."""
        self._browser.see(
            f"//*[@data-testid='state-badge'][not(ancestor::table)][normalize-space()='{state}']", seconds
        )


class TaskPage:
    """The details of a task instance, where its extra links are."""

    def __init__(self, browser: Browser, dag_id: str, run_id: str, task_id: str) -> None:
        self._browser = browser
        run = f"/dags/{quote(dag_id)}/runs/{quote(run_id, safe='')}"
        self._path = f"{run}/tasks/{quote(task_id)}/details"

    def open(self) -> None:
        """Go there."""
        self._browser.open(self._path)
        self._browser.see("//table")

    def link(self, name: str, seconds: float = SEE_SECONDS) -> str:
        """Wait until the page, which looks by itself, shows an extra link, and return its address."""
        return str(self._browser.see(f"//a[normalize-space()='{name}']", seconds).get_attribute("href"))

    def links(self, names: list[str]) -> dict[str, str]:
        """Return the addresses of those extra links that are shown now."""
        found = {name: self._browser.all(f"//a[normalize-space()='{name}']") for name in names}
        return {name: str(links[0].get_attribute("href")) for name, links in found.items() if links}


class LogLine(NamedTuple):
    """How the text of an event in a log is drawn: where it begins, in pixels, and the styles that columns depend on."""

    left: float
    top: float
    font: str
    spaces: str


class LogPage:
    """The log of a task instance."""

    def __init__(self, browser: Browser, dag_id: str, run_id: str, task_id: str) -> None:
        self._browser = browser
        self._path = f"/dags/{quote(dag_id)}/runs/{quote(run_id, safe='')}/tasks/{quote(task_id)}"

    def open(self) -> None:
        """Go there."""
        self._browser.open(self._path)

    def line(self, beginning: str) -> LogLine:
        """Wait for the event whose text begins so, and return how it is drawn."""
        found = self._browser.see(f"//*[text()[contains(., {json.dumps(beginning)})]]")
        return LogLine(**self._browser.driver.execute_script(LINE, found, beginning))


def _widget(found: WebElement) -> str:
    if str(found.get_attribute("id")).startswith("switch:"):
        return "switch"
    if found.tag_name == "textarea":
        return "multiline"
    if found.tag_name == "div":
        return "json" if found.find_elements("xpath", ".//div[@role='code']") else "select"
    return str(found.get_attribute("type") or "text")
