"""`Machine`: what a reader must know of the computer to judge a number, and nothing that names it.

Reads the system; knows no detector and no measurement.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

from detkit.detection.threads import usable_cores

# Instruction sets that decide how fast a network runs on a CPU.
_TELLING_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "asimd", "bf16")
_PACKAGES = (
    *("detkit", "numpy", "opencv-python", "openvino", "onnxruntime", "torch", "ultralytics"),
    "supervision",
)


@dataclass(frozen=True, slots=True)
class Machine:
    """A computer, as far as it decides speed.

    Attributes:
        processor: Model name and the instruction sets that matter.
        cores: Cores that this process may use.
        memory_gib: Memory of the machine, rounded; None if unknown.
        system: Operating system and architecture.
        accelerators: Names of NVIDIA GPUs.
        python: Version of Python.
        packages: Version of every library that matters and is installed.
    """

    processor: str
    cores: int
    memory_gib: int | None
    system: str
    accelerators: tuple[str, ...] = ()
    python: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "accelerators", tuple(self.accelerators))
        object.__setattr__(self, "packages", MappingProxyType(dict(self.packages)))

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that differ where the hardware differs; not the software."""
        hardware = (self.processor, self.cores, self.memory_gib, self.system, self.accelerators)
        return hashlib.sha256(repr(hardware).encode()).hexdigest()[:12]

    def as_json(self) -> dict[str, Any]:
        """Plain values for JSON, the fingerprint among them."""
        return {
            "fingerprint": self.fingerprint,
            **{name: getattr(self, name) for name in ("processor", "cores", "memory_gib")},
            "system": self.system,
            "accelerators": list(self.accelerators),
            "python": self.python,
            "packages": dict(self.packages),
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Machine:
        """The machine that `as_json` described."""
        return cls(**{k: v for k, v in facts.items() if k != "fingerprint"})

    def __str__(self) -> str:
        parts = [f"{self.processor}, {self.cores} cores"]
        parts += [f"{self.memory_gib} GiB"] if self.memory_gib else []
        return ", ".join([*parts, *self.accelerators, self.system, f"Python {self.python}"])

    def __reduce__(self) -> tuple[object, ...]:
        # A mapping proxy cannot be pickled.
        return (Machine.from_json, (self.as_json(),))


def describe_machine() -> Machine:
    """This machine. Takes about a millisecond and starts no program."""
    return Machine(
        processor=_processor(),
        cores=usable_cores(),
        memory_gib=_memory_gib(),
        system=f"{platform.system()} {platform.machine()}",
        accelerators=_nvidia_gpus(),
        python=platform.python_version(),
        packages={name: v for name in _PACKAGES if (v := _version(name)) is not None},
    )


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    facts = {key.strip(): value.strip() for key, value in pairs}
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    telling = [flag for flag in _TELLING_FLAGS if flag in flags]
    name = facts.get("model name") or platform.processor() or platform.machine()
    return f"{name} ({', '.join(telling)})" if telling else name


def _memory_gib() -> int | None:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    return round(size / 2**30)


def _nvidia_gpus() -> tuple[str, ...]:
    """Names of the GPUs the NVIDIA driver for Linux serves, read without starting CUDA."""
    names = []
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        try:
            lines = file.read_text().splitlines()
        except OSError:
            continue
        names += [line.split(":", 1)[1].strip() for line in lines if line.startswith("Model:")]
    return tuple(names)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
