"""`conftest.py` has broken twins too: what it has to notice is noticed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HEAD = """
import asyncio, threading, pytest
from concurrent.futures import Future
"""

STRAY_ERRORS = """
def test_error_in_a_thread():
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()

def test_error_that_nobody_asked_a_future_for():
    async def main():
        asyncio.get_running_loop().create_future().set_exception(ValueError("unseen"))
    asyncio.run(main())

def test_error_in_a_callback_of_a_loop():
    async def main():
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)
    asyncio.run(main())

def test_error_in_a_callback_of_a_future():
    future = Future()
    future.add_done_callback(lambda _: 1 / 0)
    future.set_result(1)

def test_error_in_a_finalizer():
    class Falling:
        def __del__(self):
            raise ValueError("falling")
    Falling()
"""

STRANGERS = """
import socket

def test_that_connects_elsewhere():
    with socket.socket() as connection:
        connection.settimeout(0.01)
        with pytest.raises(OSError):
            connection.connect(("192.0.2.1", 9))  # an address that belongs to nobody

def test_that_looks_up_a_name():
    with pytest.raises(OSError):
        socket.getaddrinfo("name.invalid", 80)
"""

HANG = """
@pytest.mark.watchdog(0.5)
def test_that_hangs():
    threading.Event().wait()
"""

SOUND = """
def test_that_takes_its_error_out(stray_errors):
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    assert "ZeroDivisionError" in stray_errors.pop()

@pytest.mark.watchdog(0.5)
def test_in_time():
    pass

def test_scheduling(scheduling):
    pass
"""


def run_pytest(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(Path(__file__).with_name("conftest.py"), folder / "conftest.py")
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_twin.py").write_text(HEAD + code)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_twin.py"]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_stray_error_fails_its_test(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, STRAY_ERRORS)
    num_tests = STRAY_ERRORS.count("def test_")
    assert f"{num_tests} passed, {num_tests} errors" in done.stdout, done.stdout
    assert done.stdout.count("\nstray errors:") == num_tests


def test_reaching_for_another_machine_fails_its_test(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, STRANGERS)
    assert "2 passed, 2 errors" in done.stdout, done.stdout
    assert "a connection to 192.0.2.1" in done.stdout
    assert "a look-up of name.invalid" in done.stdout


def test_a_hang_ends_the_run_and_prints_every_thread(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, HANG)
    assert done.returncode == 1
    assert "Timeout (0:00:00.500000)!" in done.stderr
    assert "in test_that_hangs" in done.stderr


def test_a_sound_test_passes(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, SOUND)
    assert "4 passed" in done.stdout, done.stdout
    assert done.returncode == 0
