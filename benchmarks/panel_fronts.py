"""Two fronts for `panel_benchmark`: a Chromium with JupyterLab, and one that only confirms.

Each opens a notebook of one cell, evaluates expressions in its kernel, shows the panel or scrolls
it away, and says how many CPU seconds were spent on its side. The Chromium is driven by its own
debugging protocol and nothing else: a test driver listens to every message of the page, pictures
too, which costs more than showing them. Knows Jupyter and browsers; nothing of what is measured.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import nbformat
import psutil
import websocket
from jupyter_client.manager import start_new_kernel
from widgets.jupyter_page import KERNEL_IS_UP, ROOT, Lab, find_browser

_IDLE = '.jp-Notebook-ExecutionIndicator[data-status="idle"]'
PANEL = ".jp-OutputArea .detkit-panel"
_PATIENCE_S = 60.0
_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
_FLAGS += ("--no-first-run", "--disable-component-update", "--remote-debugging-port=0")
_FLAGS += ("--window-size=1700,1500", "--hide-scrollbars")

_IS_SO = "(() => {{ try {{ return Boolean({condition}); }} catch {{ return false; }} }})()"
_EXECUTE = """(async () => {{
    const context = window.jupyterapp.shell.currentWidget.context.sessionContext;
    const future = context.session.kernel.requestExecute({{ code: {code} }});
    let text = '';
    future.onIOPub = message => {{
        if (message.header.msg_type === 'stream') text += message.content.text;
        if (message.header.msg_type === 'error') text += message.content.traceback.join('\\n');
    }};
    await future.done;
    return text;
}})()"""
_SCROLL = """(() => {{
    const notebook = document.querySelector('.jp-WindowedPanel-outer');
    if ({visible}) document.querySelector('{panel} canvas').scrollIntoView({{ block: 'center' }});
    else notebook.scrollTop = notebook.scrollHeight;
}})()"""


_BEGIN = """from concurrent.futures import ThreadPoolExecutor
answer = ThreadPoolExecutor(1).submit(lambda: {expression})
"""


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise RuntimeError(f"the kernel answered: {text[-2000:]}") from None


def _asking(expression: str) -> str:
    return f"import json; print(json.dumps({expression}))"


def _seconds(processes: list[psutil.Process]) -> float:
    return sum(sum(p.cpu_times()[:2]) for p in processes if p.is_running())


class LightFront:
    """A kernel whose panel is looked at by a front that confirms pictures and draws nothing."""

    def __init__(self, setup: str) -> None:
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._manager, self._client = start_new_kernel(env=env)
        self._image: str | None = None
        self._must_confirm = True
        self._subshell = self._make_subshell()
        self._execute(setup)
        if self._image is None:
            raise RuntimeError("the notebook shows no preview")

    def _make_subshell(self) -> str:
        """A busy cell must not hold up what the page has to say, as in JupyterLab."""
        request = self._client.session.msg("create_subshell_request", {})
        self._client.control_channel.send(request)
        while True:
            reply = self._client.control_channel.get_msg(timeout=_PATIENCE_S)
            if reply["parent_header"].get("msg_id") == request["header"]["msg_id"]:
                return str(reply["content"]["subshell_id"])

    def _execute(self, code: str) -> str:
        """Run code and meanwhile be the page."""
        request, text = self._client.execute(code, store_history=False), ""
        while True:
            message = self._client.get_iopub_msg(timeout=_PATIENCE_S)
            kind, content = message["msg_type"], message["content"]
            if kind in ("comm_open", "comm_msg"):
                self._heard(content)
            elif message["parent_header"].get("msg_id") == request:
                text += content.get("text", "") if kind == "stream" else ""
                text += "\n".join(content["traceback"]) if kind == "error" else ""
                if kind == "status" and content["execution_state"] == "idle":
                    return text

    def _heard(self, content: dict[str, Any]) -> None:
        state = content["data"].get("state", {})
        if str(state.get("_anywidget_id", "")).endswith("FrameImage"):
            self._image = content["comm_id"]
            self.look(True)
        if content["comm_id"] == self._image:
            self._must_confirm = state.get("must_confirm", self._must_confirm)
            if state.get("number") and self._must_confirm:
                self._tell({"event": "shown", "number": state["number"]})

    def _tell(self, said: dict[str, Any]) -> None:
        data = {"method": "custom", "content": said}
        message = self._client.session.msg("comm_msg", {"comm_id": self._image, "data": data})
        message["header"]["subshell_id"] = self._subshell
        self._client.shell_channel.send(message)

    def look(self, visible: bool) -> None:
        """Bring the panel into view, or out of it."""
        self._tell({"event": "visible", "view": "one", "visible": visible, "width_px": 1280})

    def call(self, expression: str) -> Any:
        """The value of a Python expression in the kernel."""
        return _value(self._execute(_asking(expression)))

    def cpu_seconds(self) -> dict[str, float]:
        """Spent so far outside the kernel."""
        return {"front": _seconds([psutil.Process()])}

    def close(self) -> None:
        """End the kernel."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


class Chromium:
    """A JupyterLab with its kernel, and a page of it in a headless Chromium."""

    def __init__(self, setup: str, folder: Path) -> None:
        self._lab = Lab(folder)
        self.notebook = folder / "files" / "preview.ipynb"
        notebook = nbformat.v4.new_notebook()
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        below = nbformat.v4.new_markdown_cell("\n\n".join(["below"] * 120))
        notebook.cells = [nbformat.v4.new_code_cell(setup), below]
        nbformat.write(notebook, self.notebook)
        self._lab.wait_until_up()
        profile = folder / "profile"
        command = [str(find_browser()), *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
        with (folder / "browser.log").open("w") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._numbers = itertools.count(1)
        self._page = websocket.create_connection(
            _page_address(profile), timeout=120, suppress_origin=True
        )
        # JupyterLab counts a notebook as the current one only where the page has the focus.
        self._command("Emulation.setFocusEmulationEnabled", enabled=True)
        self._command("Page.navigate", url=self._lab.url("lab/workspaces/one/tree/preview.ipynb"))
        self.wait_until("window.jupyterapp.shell.currentWidget.context.sessionContext")
        self.evaluate(f"({KERNEL_IS_UP})()")
        self.wait_until(f"document.querySelector('{_IDLE}')")
        self.run_command("application:toggle-left-area")
        self.run_command("notebook:run-all-cells")
        self.wait_until(f"document.querySelector('{PANEL} canvas[aria-label*=object]')")

    def _command(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        self._page.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._page.recv())
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        wanted = {"awaitPromise": True, "returnByValue": True}
        answer = self._command("Runtime.evaluate", expression=script, **wanted)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"the page says: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_until(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + _PATIENCE_S
        while not self.evaluate(_IS_SO.format(condition=condition)):
            if time.monotonic() > deadline:
                raise RuntimeError(f"this never came to pass: {condition}")
            time.sleep(0.1)  # a page that is being loaded answers no promise

    def run_command(self, name: str) -> None:
        """Run a command of JupyterLab and wait until it is done."""
        self.evaluate(f"window.jupyterapp.commands.execute({name!r}).then(() => 0)")

    def call(self, expression: str) -> Any:
        """The value of a Python expression in the kernel, evaluated on a thread of its own.

        A cell that is busy would hold up what the page has to say.
        """
        self._execute(_BEGIN.format(expression=expression))
        while not _value(self._execute(_asking("answer.done()"))):
            time.sleep(1.0)
        return _value(self._execute(_asking("answer.result()")))

    def _execute(self, code: str) -> str:
        return str(self.evaluate(_EXECUTE.format(code=json.dumps(code))))

    def look(self, visible: bool) -> None:
        """Bring the panel into view, or out of it."""
        self.evaluate(_SCROLL.format(panel=PANEL, visible=json.dumps(visible)))
        time.sleep(0.3)  # until the page has found out

    def cpu_seconds(self) -> dict[str, float]:
        """Spent so far outside the kernel."""
        return {
            "server": _seconds([psutil.Process(self._lab.pid)]),
            "browser": _seconds(self._browser()),
        }

    def _browser(self) -> list[psutil.Process]:
        first = psutil.Process(self._process.pid)
        return [first, *first.children(recursive=True)]

    def memory_mb(self) -> tuple[float, float]:
        """Heap of the page after a collection, and resident memory of all browser processes."""
        self._command("HeapProfiler.collectGarbage")
        heap = self._command("Runtime.getHeapUsage")["usedSize"]
        return heap / 2**20, sum(p.memory_info().rss for p in self._browser()) / 2**20

    def close(self) -> None:
        """End browser, server and kernel."""
        self._page.close()
        self._process.terminate()
        self._process.wait(15)
        self._lab.close()


def _page_address(profile: Path) -> str:
    """Where the first page of a browser listens."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        try:
            port = int((profile / "DevToolsActivePort").read_text().split()[0])
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                pages = [p for p in json.load(answer) if p["type"] == "page"]
            return str(pages[0]["webSocketDebuggerUrl"])
        except (OSError, ValueError, IndexError):
            time.sleep(0.1)  # a starting browser has nothing else to wait on
    raise RuntimeError("the browser did not start")
