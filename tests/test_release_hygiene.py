"""T43: what is released holds no secret, and asks for no version that was published with malware.

That the wheel is the same when it is built again is checked by `.ci/run`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli", reason="needs Python 3.11 or tomli to read TOML")

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FOLDERS = ("detkit", "tests", "benchmarks", "notebooks", "data", ".ci", ".github")
PINNED = re.compile(r"uses:\s*(\./\S+|\S+@[0-9a-f]{40})\s*(#.*)?$")
# How the tokens of the usual services, and private keys, begin.
TOKEN = re.compile(
    rb"gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{22}|pypi-AgE[A-Za-z0-9_-]{20}|hf_[A-Za-z0-9]{34}"
    rb"|AKIA[0-9A-Z]{16}|sk-[A-Za-z0-9]{32}|xox[abp]-[0-9]{10}|glpat-[\w-]{20}"
    rb"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)


def files() -> Iterator[Path]:
    yield from (path for path in ROOT.iterdir() if path.is_file())
    for folder in FOLDERS:
        yield from (path for path in (ROOT / folder).rglob("*") if path.is_file())


def test_t43_versions_published_with_malware_are_excluded() -> None:
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    wanted = [Requirement(line) for group in groups for line in group]
    ultralytics = [w.specifier for w in wanted if w.name == "ultralytics"]
    assert ultralytics
    for specifier in ultralytics:
        for version in ("8.3.41", "8.3.42", "8.3.45", "8.3.46"):
            assert version not in specifier
    assert all(w.specifier for w in wanted if w.name != "detkit"), "each has a lower bound"


def test_t43_no_file_holds_a_token() -> None:
    found = [str(path.relative_to(ROOT)) for path in files() if TOKEN.search(path.read_bytes())]
    assert found == []


def test_t43_the_check_finds_a_token() -> None:
    for token in ("ghp_" + "a" * 36, "AKIA" + "A" * 16, "-----BEGIN " + "RSA PRIVATE KEY-----"):
        assert TOKEN.search(f"token = {token!r}".encode())


def test_t43_every_action_is_pinned_to_a_commit() -> None:
    workflows = (ROOT / ".github").rglob("*.y*ml")
    lines = [line.strip() for path in workflows for line in path.read_text().splitlines()]
    assert [line for line in lines if "uses:" in line and not PINNED.search(line)] == []
