"""The shipped service over the sandbox, and Debian's Chromium in front of it.

Pictures of every page are kept in `var/browser` (not in git), to be looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from desired_state.model import LineKey
from reconciler.config import Settings, load
from reconciler.daemon import Service
from reconciler.store import approvals, lines
from reconciler.wiring import sandbox_twin
from reconciler.wiring.serving import Served, serving
from tests.make_logs import into

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
PICTURES = Path(__file__).parents[2] / "var" / "browser"
FLAGS = ["--no-sandbox", "--disable-gpu"]


@dataclass
class Stage:
    """Contoso under the service, with what its log said."""

    settings: Settings
    served: Served
    said: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.served.url

    def cycle(self) -> None:
        assert Service(self.served.app, into(self.said)).cycle() is not None, self.said

    def advance(self, by: timedelta) -> None:
        with sandbox_twin(self.settings) as twin:
            twin.advance(by)

    def request(self, ticket: str) -> Any:
        """The newest request for approval of a ticket."""
        with self.served.app.database.read() as session:
            return approvals.of_line(session, "contoso", LineKey(ticket, 1))[0]

    def phase(self, ticket: str) -> str:
        with self.served.app.database.read() as session:
            (state,) = lines.load(session, "contoso", tickets={ticket}).values()
        return state.phase.value


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The service after its first cycle. Its clock is turned by the tests alone."""
    given = {
        "RECONCILER_STATE_DIR": str(tmp_path_factory.mktemp("var")),
        "RECONCILER_WEB__PORT": "0",
        "RECONCILER_SANDBOX__SPEED": "0",
    }
    settings = load(None, given)
    said: list[str] = []
    with serving(settings, "contoso", log=into(said)) as served:
        stage = Stage(settings, served, said)
        stage.cycle()
        yield stage


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"there is no browser at {CHROMIUM}: install Debian's package chromium, or name one in CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Person:
    """Somebody at a browser of their own."""

    def __init__(self, context: BrowserContext, base: str, *, scripts: bool) -> None:
        self.context, self.base, self.scripts = context, base, scripts
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, path: str, *, as_: str = "") -> Page:
        """Follow a link; where Microsoft asks who it is, pick a person."""
        self.page.goto(self.base + path)
        if as_:
            self.page.get_by_role("button", name=as_).first.click()
            if not self.scripts:  # Entra's answer posts itself by a script, and has a button for browsers without
                self.page.get_by_role("button", name="Continue").click()
            self.page.wait_for_url(f"{self.base}/**")
        return self.page

    def picture(self, name: str) -> None:
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{name}.png", full_page=True)


@pytest.fixture
def someone(chromium: Browser, stage: Stage) -> Iterator[Any]:
    """Makes people, each with a browser of their own: `someone(width=390, color_scheme="dark")`."""
    contexts: list[BrowserContext] = []

    def make(width: int = 1100, height: int = 900, scripts: bool = False, **how: Any) -> Person:
        context = chromium.new_context(
            ignore_https_errors=True,  # the sandbox's own certificate authority
            java_script_enabled=scripts,
            viewport={"width": width, "height": height},
            **how,
        )
        context.set_default_timeout(15_000)
        contexts.append(context)
        return Person(context, stage.url, scripts=scripts)

    yield make
    for context in contexts:
        context.close()
