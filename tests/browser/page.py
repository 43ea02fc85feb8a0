"""What people do on the local Slack's page, found by the roles and names that they hear or read; every wait is bounded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

from selenium import webdriver
from selenium.common.exceptions import (
    NoSuchElementException,
    StaleElementReferenceException,
    TimeoutException,
    WebDriverException,
)
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

_Value = TypeVar("_Value")
CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
MOST_SECONDS = 60.0
BUTTONS = """
const [place, label] = arguments;
const names = (each) => [each.innerText.split("\\n")[0], each.getAttribute("aria-label")];
const shown = [...place.querySelectorAll("button, summary")].filter((each) => each.checkVisibility());
return shown.filter((each) => names(each).includes(label));
"""
FOCUSABLE = "button, input, select, textarea, summary, a[href]"


def start_browser() -> webdriver.Chrome:
    """Debian's Chromium without a window; it asks for nothing but the page."""
    options = Options()
    options.binary_location = CHROMIUM
    wanted = ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "no-proxy-server")
    quiet = ("disable-background-networking", "disable-component-update", "no-first-run", "hide-scrollbars")
    for name in (*wanted, *quiet):
        options.add_argument(f"--{name}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(DRIVER))


class Page:
    """The page as one person uses it. What is not there in time raises TimeoutException, which says what was waited for."""

    def __init__(self, browser: webdriver.Chrome, url: str, *, screenshots: Path = Path()) -> None:
        self.browser, self.url, self._screenshots = browser, url, screenshots

    def load(self) -> Self:
        """Open the page anew, as after pressing reload."""
        self.browser.get(self.url)
        self.wait("the page", lambda: self.browser.find_elements(By.CSS_SELECTOR, "#channels button"))
        return self

    def resize(self, width: int, height: int = 800, *, scheme: str = "light") -> Self:
        """Another screen: its width and height in CSS pixels, `light` or `dark`."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        media = [{"name": "prefers-color-scheme", "value": scheme}]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        return self

    def wait(self, what: str, find: Callable[[], _Value]) -> _Value:
        """The first true value of `find`; a part that is being redrawn is looked for again."""
        ignored = (StaleElementReferenceException, NoSuchElementException)
        waiting = WebDriverWait(self.browser, MOST_SECONDS, poll_frequency=0.1, ignored_exceptions=ignored)
        try:
            return waiting.until(lambda _: find())
        except TimeoutException as error:
            raise TimeoutException(f"{what} did not come; on the screen: {self._surface().text[:2000]}") from error

    def act_as(self, name: str) -> Self:
        """Become somebody else, by the name that Slack shows."""
        self._pane("Places")
        self.choose("Act as", name)
        self.wait(name, lambda: self.browser.execute_script("return nameOf(me)") == name)
        self._pane("Messages")
        return self

    def open_channel(self, name: str) -> Self:
        """Look at a channel, by its name without #."""
        return self._open(f"# {name}", f"# {name}")

    def open_app(self) -> Self:
        """Look at the direct messages with the app."""
        name = self.browser.execute_script("return state.features.bot_user.display_name")
        return self._open(name, name)

    def home(self) -> Self:
        """Look at the app's Home tab."""
        return self.open_app().press("Home")

    def type_command(self, line: str) -> Self:
        """Type a line where the person is, and send it."""
        field = self.wait("the message field", lambda: self._shown(By.ID, "line"))
        field.clear()
        field.send_keys(line, Keys.ENTER)
        return self

    def answer_to(self, line: str) -> str:
        """Type a command, and read what the app answers."""
        before = len(self.messages())
        self.type_command(line)
        return str(self.wait(f"the answer to {line!r}", lambda: self.messages()[before:][-1:] or None)[0])

    def press(self, label: str, *, of: str = "") -> Self:
        """Press the newest button of this name: in the dialog, if one is open; `of` is a text of its message."""

        def click() -> bool:
            buttons = self._buttons(self._message(of) if of else self._surface(), label)
            return bool(buttons) and self._try_click(buttons[-1])

        self.wait(f"the button {label!r}", click)
        return self

    def confirm(self, label: str) -> Self:
        """Answer the question that a button asked first."""
        self.wait("a question", lambda: self._shown(By.CSS_SELECTOR, "dialog[open][role=alertdialog]"))
        return self.press(label)

    def fill(self, label: str, value: str) -> Self:
        """Enter text, or choose options by their names, in the field with this label."""
        return (
            self.choose(label, value)
            if self._field(label).tag_name in {"select", "fieldset"}
            else self._type(label, value)
        )

    def choose(self, label: str, option: str) -> Self:
        """Choose an option of a menu, or tick one of a group, by its name or the beginning of it."""
        field = self._field(label)
        kind = "option" if field.tag_name == "select" else "label"

        def click() -> bool:
            found = [each for each in field.find_elements(By.TAG_NAME, kind) if each.text.startswith(option)]
            return bool(found) and self._try_click(found[0])

        self.wait(f"the option {option!r} of {label!r}", click)
        return self

    def submit(self) -> Self:
        """Press the button with which the open form is sent."""
        self.wait("a form", lambda: self._try_click(self._shown(By.CSS_SELECTOR, "#modal footer .primary")))
        return self

    def see(self, text: str, *, of: str = "") -> str:
        """Wait until a text is on the screen: in the newest message with `of`, else in what is in front. Returns that text."""

        def find() -> str | None:
            shown = [each for each in self.messages() if of in each][-1:] if of else [self._surface().text]
            return next((each for each in shown if text in each), None)

        return str(self.wait(f"{text!r}", find))

    def notice(self, text: str) -> str:
        """Wait for a notification or an error with a text."""
        return str(self.wait(f"a notice with {text!r}", lambda: self._text_of("notices", text)))

    def messages(self) -> list[str]:
        """The messages that are shown, oldest first."""
        script = "return [...document.querySelectorAll('#log:not([hidden]) > li')].map((each) => each.innerText)"
        shown: list[str] = self.browser.execute_script(script)
        return shown

    def unread(self, channel: str) -> int:
        """How many messages of a channel the person has not looked at, by the mark beside its name."""
        marks = self._buttons(self.browser.find_element(By.ID, "side"), f"# {channel}")[0].text.split("\n")[1:]
        return int(marks[0]) if marks else 0

    def options(self, label: str) -> list[str]:
        """What a menu offers."""
        return [each.text for each in self._field(label).find_elements(By.TAG_NAME, "option")]

    def value(self, label: str) -> str:
        """What stands in a field."""
        return self._field(label).get_attribute("value") or ""

    def to_copy(self) -> list[str]:
        """What stands in boxes of its own, in what is in front."""
        return [each.text for each in self._surface().find_elements(By.CSS_SELECTOR, "pre")]

    def modal(self) -> str:
        """The text of the open modal, or nothing."""
        found = self.browser.find_elements(By.CSS_SELECTOR, "#modal[open]")
        return found[0].text if found else ""

    def close(self) -> Self:
        """Close the open modal by the keyboard."""
        self.keys(Keys.ESCAPE)
        self.wait("the end of the modal", lambda: not self.modal())
        return self

    def behind(self, text: str) -> str:
        """Wait until a text stands behind the scenes; on a phone that is a tab."""
        self._pane("Behind")
        return str(self.wait(f"{text!r} behind the scenes", lambda: self._text_of("behind", text)))

    def keys(self, *keys: str, shift: bool = False) -> Self:
        """Press keys where the focus is."""
        chain = webdriver.ActionChains(self.browser)
        chain = chain.key_down(Keys.SHIFT).send_keys(*keys).key_up(Keys.SHIFT) if shift else chain.send_keys(*keys)
        chain.perform()
        return self

    def focused(self) -> WebElement:
        """What has the keyboard."""
        return self.browser.switch_to.active_element

    def controls(self) -> list[WebElement]:
        """Everything on the screen that can be pressed or filled in."""
        return [each for each in self._surface().find_elements(By.CSS_SELECTOR, FOCUSABLE) if each.is_displayed()]

    def links(self) -> list[WebElement]:
        """The links on the screen."""
        return self._surface().find_elements(By.CSS_SELECTOR, "a[href]")

    def is_too_wide(self) -> bool:
        """Whether somebody has to scroll sideways."""
        script = "return document.scrollingElement.scrollWidth > innerWidth"
        return bool(self.browser.execute_script(script))

    def complaints(self) -> list[str]:
        """What the browser's console complained of."""
        return [
            entry["message"] for entry in self.browser.get_log("browser") if entry["level"] in {"SEVERE", "WARNING"}
        ]

    def text(self) -> str:
        """Everything on the screen."""
        return self.browser.find_element(By.TAG_NAME, "body").text

    def screenshot(self, name: str) -> Self:
        """Keep a picture of the screen, for people to look at."""
        self.browser.save_screenshot(str(self._screenshots / f"{name}.png"))
        return self

    def picture(self, name: str, *, of: str = "") -> Self:
        """Keep a picture of the newest message with a text, else of the open dialog or of Home, with the pointer elsewhere."""
        pointer = ActionBuilder(self.browser)
        pointer.pointer_action.move_to_location(1, 1)
        pointer.perform()
        shown = self._message(of) if of else self._shown(By.CSS_SELECTOR, "dialog[open], #home > div")
        shown.screenshot(str(self._screenshots / f"{name}.png"))
        return self

    def _open(self, label: str, title: str) -> Self:
        self._pane("Places")

        def click() -> bool:
            return self._try_click(self._buttons(self.browser.find_element(By.ID, "side"), label)[0])

        self.wait(f"the place {label!r}", click)
        self.wait(title, lambda: self.browser.find_element(By.ID, "place").text == title)
        return self

    def _pane(self, label: str) -> None:
        found = self._buttons(self.browser.find_element(By.ID, "panes"), label)
        if found and found[0].is_displayed():
            self._try_click(found[0])

    def _surface(self) -> WebElement:
        dialogs = self.browser.find_elements(By.CSS_SELECTOR, "dialog[open]")
        return dialogs[-1] if dialogs else self.browser.find_element(By.TAG_NAME, "body")

    def _message(self, of: str) -> WebElement:
        places = [index for index, text in enumerate(self.messages()) if of in text]
        if not places:
            raise NoSuchElementException(of)
        return self.browser.find_elements(By.CSS_SELECTOR, "#log > li")[places[-1]]

    def _shown(self, by: str, what: str) -> WebElement:
        found = [each for each in self.browser.find_elements(by, what) if each.is_displayed()]
        if not found:
            raise NoSuchElementException(what)
        return found[-1]

    def _buttons(self, place: WebElement, label: str) -> list[WebElement]:
        found: list[WebElement] = self.browser.execute_script(BUTTONS, place, label)
        return found

    def _field(self, label: str) -> WebElement:
        def find() -> Any:
            for each in self._surface().find_elements(By.CSS_SELECTOR, "[aria-label]"):
                if each.get_attribute("aria-label") == label and each.is_displayed():
                    return each
            for each in self._surface().find_elements(By.CSS_SELECTOR, "label[for], legend"):
                if each.text.removesuffix(" (optional)") == label:
                    owner = each.get_attribute("for")
                    return self.browser.find_element(By.ID, owner) if owner else each.find_element(By.XPATH, "..")
            return None

        return self.wait(f"the field {label!r}", find)

    def _type(self, label: str, value: str) -> Self:
        field = self._field(label)
        field.clear()
        field.send_keys(value)
        return self

    def _text_of(self, part: str, text: str) -> str | None:
        shown = self.browser.find_element(By.ID, part).text
        return shown if text in shown else None

    @staticmethod
    def _try_click(element: WebElement) -> bool:
        try:
            element.click()
        except StaleElementReferenceException:
            return False
        except WebDriverException as error:  # something lies above it for a moment
            if "intercepted" not in str(error) and "not interactable" not in str(error):
                raise
            return False
        return True
