"""A real JupyterLab on loopback, and a page of it in a real, headless browser.

Owns starting and ending both, and the few gestures that every browser test makes.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from widgets.page_checks import NAMELESS, UNREADABLE

ROOT = Path(__file__).parents[2]
START_S = 40.0
WAIT_MS = 15_000
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
_FLAGS += ("--disable-component-update", "--no-first-run")

_COMMAND = """([name, limit, given]) => Promise.race([
    window.jupyterapp.commands.execute(name, given).then(() => 0),
    new Promise((_, fail) => setTimeout(() => fail(new Error(name + ' took too long')), limit)),
])"""

_INDICATOR = ".jp-Notebook-ExecutionIndicator"
_GO_TO = """number => {
    const notebook = window.jupyterapp.shell.currentWidget.content;
    notebook.deselectAll();
    notebook.activeCellIndex = notebook.widgets.length - number;
}"""
_EXECUTE = """async code => {
    const session = window.jupyterapp.shell.currentWidget.context.sessionContext.session;
    const reply = await session.kernel.requestExecute({ code }).done;
    return reply.content.status === 'ok' ? '' : reply.content.evalue;
}"""

KERNEL_IS_UP = """async () => {
    const context = window.jupyterapp.shell.currentWidget.context.sessionContext;
    await context.ready;
    await context.session.kernel.info;
}"""


def find_browser() -> str | None:
    """Path of a Chromium, or `None`."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


class Lab:
    """One JupyterLab server over a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._token = secrets.token_hex(16)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._write_settings()
        self._log = (folder / "server.log").open("w")
        (folder / "files").mkdir()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"],
            cwd=folder / "files",
            env={
                **os.environ,
                "JUPYTER_CONFIG_DIR": str(folder / "config"),
                "JUPYTER_DATA_DIR": str(folder / "data"),
                "PYTHONPATH": str(ROOT),
            },
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    @property
    def pid(self) -> int:
        """Of the server."""
        return self._process.pid

    def _write_settings(self) -> None:
        config = {
            "ServerApp": {
                "ip": "127.0.0.1",
                "port": self._port,
                "port_retries": 0,
                "root_dir": str(self.folder / "files"),
            },
            "IdentityProvider": {"token": self._token},
            "LabApp": {
                "check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
                "expose_app_in_browser": True,
                "user_settings_dir": str(self.folder / "settings"),
                "workspaces_dir": str(self.folder / "workspaces"),
            },
        }
        where = self.folder / "config"
        where.mkdir()
        (where / "jupyter_server_config.json").write_text(json.dumps(config))
        self._set("apputils-extension", "notification", {"fetchNews": "false"})
        # Cells below the edge of the window are drawn too.
        self._set("notebook-extension", "tracker", {"windowingMode": "none"})

    def _set(self, extension: str, name: str, values: dict[str, Any]) -> None:
        folder = self.folder / "settings" / "@jupyterlab" / extension
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.jupyterlab-settings").write_text(json.dumps(values))

    def wait_until_up(self) -> None:
        """Return when the server answers."""
        deadline = time.monotonic() + START_S
        while True:
            try:
                urllib.request.urlopen(self.url("api/status"), timeout=2).close()
                return
            except (urllib.error.URLError, OSError):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = (self.folder / "server.log").read_text()[-2000:]
                    raise RuntimeError(f"JupyterLab did not start:\n{log}") from None
                time.sleep(0.1)  # a server has nothing else to wait on

    def url(self, path: str) -> str:
        """Address of a page, with the token."""
        return f"http://127.0.0.1:{self._port}/{path}?token={self._token}"

    def close(self) -> None:
        """End the server and its kernels."""
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


@contextmanager
def open_browser() -> Iterator[Any]:
    """A headless browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


class NotebookPage:
    """One notebook in one page.

    Attributes:
        page: Playwright's page.
        problems: Errors of the page's console.
    """

    def __init__(self, browser: Any, lab: Lab, path: str, shots: Path | None = None) -> None:
        self._shots = shots
        self.page = browser.new_page(viewport={"width": 1400, "height": 1500})
        self.page.set_default_timeout(WAIT_MS)
        self.problems: list[str] = []
        self.page.on("console", self._heard)
        self.page.goto(lab.url(f"lab/workspaces/{secrets.token_hex(4)}/tree/{path}"))
        self.page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        self.page.evaluate(KERNEL_IS_UP)
        self.wait_until_idle()
        self.command("application:toggle-left-area")

    def _heard(self, message: Any) -> None:
        if message.type == "error":
            self.problems.append(message.text)

    def command(self, name: str, **arguments: str) -> None:
        """Run a command of JupyterLab and wait until it is done."""
        self.page.evaluate(_COMMAND, [name, 2 * WAIT_MS, arguments])

    def take_pictures(self, name: str, shown: Any = None) -> None:
        """Screenshots, of `shown` alone, if they were asked for: `name-light`, `name-dark`."""
        if self._shots is None or not os.environ.get("DETKIT_SCREENSHOTS"):
            return
        for theme in ("Dark", "Light"):
            self.command("apputils:change-theme", theme=f"JupyterLab {theme}")
            named = f'body[data-jp-theme-name="JupyterLab {theme}"]'
            self.page.wait_for_selector(named, state="attached")
            self.page.wait_for_selector("#jupyterlab-splash", state="detached")
            pictured = self.page if shown is None else shown
            pictured.screenshot(path=self._shots / f"{name}-{theme.lower()}.png")

    def check_names_and_colours(self) -> None:
        """Every control has a name and can be reached; every text of ours can be read."""
        for theme in ("Dark", "Light"):
            self.command("apputils:change-theme", theme=f"JupyterLab {theme}")
            named = f'body[data-jp-theme-name="JupyterLab {theme}"]'
            self.page.wait_for_selector(named, state="attached")
            problems = self.page.evaluate(UNREADABLE)
            assert problems == [], (theme, problems)
        self.page.wait_for_selector('.detkit-panel [role="slider"][aria-label]')
        assert self.page.evaluate(NAMELESS) == []

    def start_command(self, name: str) -> None:
        """Run a command of JupyterLab and go on."""
        self.page.evaluate("name => { window.jupyterapp.commands.execute(name); }", name)

    def run_all(self) -> None:
        """Run all cells; fails if one of them fails."""
        self.command("notebook:run-all-cells")
        self.check_cells()

    def check_cells(self) -> None:
        """Fails if a cell wrote to its error stream."""
        errors = self.page.locator('[data-mime-type="application/vnd.jupyter.stderr"]')
        assert errors.count() == 0, errors.all_inner_texts()

    def run_last(self, number: int) -> None:
        """Run the last cells only; fails if one of them fails."""
        self.page.evaluate(_GO_TO, number)
        for _ in range(number):
            self.command("notebook:run-cell-and-select-next")
        self.check_cells()

    def start_last(self) -> None:
        """Run the last cell and go on."""
        self.page.evaluate(_GO_TO, 1)
        self.start_command("notebook:run-cell")

    def status(self) -> str:
        """Of the kernel, as JupyterLab shows it: "idle", "busy" ..."""
        return str(self.page.locator(_INDICATOR).get_attribute("data-status"))

    def wait_until_idle(self) -> None:
        """Wait until no cell runs."""
        self.page.wait_for_selector(f'{_INDICATOR}[data-status="idle"]')

    def execute(self, code: str) -> None:
        """Run code in the kernel, in no cell; fails if it fails."""
        problem = self.page.evaluate(_EXECUTE, code)
        assert problem == "", problem

    def panel(self, title: str) -> Any:
        """The first panel whose title begins so."""
        panels = self.page.locator(".detkit-panel")
        return panels.filter(has=self.page.locator(f'.detkit-title:text("{title}")')).first

    def wait_until(self, script: str, *arguments: Any) -> None:
        """Wait until a piece of JavaScript is true."""
        self.page.wait_for_function(script, arg=arguments[0] if arguments else None)

    def close(self) -> None:
        """Leave; the kernel ends with the server."""
        self.page.close()
