"""Networks that torch runs: from a checkpoint or from TorchScript.

Turns letterboxed pixels into a tensor and predictions into an array, on a CPU or a GPU. Knows
nothing of files.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from detkit.detection.model_facts import ModelFacts
from detkit.detection.runtimes.contract import Runtime
from detkit.detection.threads import ThreadPlan
from detkit.errors import ModelLoadError, describe


class TorchRuntime(Runtime):
    """A torch module in evaluation mode. Every replica has a copy of its own."""

    library = "ultralytics"

    def __init__(
        self,
        network: Any,
        facts: ModelFacts,
        device: str,
        precision: str,
        plan: ThreadPlan,
    ) -> None:
        import torch

        self.device = device
        self.precision = precision
        self._dtype = torch.float16 if precision == "fp16" else torch.float32
        # The letterboxed pixels lie channels last already. Tensor cores read this layout as it is;
        # on a CPU the results are to be the very digits of ultralytics.
        self._layout = torch.channels_last if device.startswith("cuda") else torch.contiguous_format
        self._network = network.to(device=device, dtype=self._dtype, memory_format=self._layout)
        self._plan = plan
        # On a CPU a batch is slower than its images one by one, and would let the size of the
        # batch reach the last digit of the result.
        self.facts = facts if device != "cpu" else replace(facts, max_batch_size=1)

    def infer(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See `Runtime.infer`."""
        import torch

        try:
            with self._plan.call() as layout, torch.inference_mode():
                if self.device == "cpu" and torch.get_num_threads() != layout.threads_per_call:
                    torch.set_num_threads(layout.threads_per_call)  # of this thread alone
                pixels = torch.from_numpy(batch).to(self.device).permute(0, 3, 1, 2)
                pixels = pixels.to(self._dtype).contiguous(memory_format=self._layout)
                output = self._network(pixels / 255)
                raw: npt.NDArray[np.float32] = output.float().cpu().numpy()
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            raise
        except RuntimeError as error:
            if "can't allocate memory" in str(error):
                raise MemoryError(describe(error)) from error
            raise
        return raw

    def warm_up(self) -> None:
        """Run once on grey.

        Raises:
            ModelLoadError: If the output is not what the head promises.
        """
        rows, columns = 4 + len(self.facts.class_names), 6
        raw = self.infer(np.full((1, *self.facts.size_hw, 3), 114, dtype=np.uint8))
        index, expected = (1, rows) if self.facts.layout == "anchors" else (2, columns)
        if raw.ndim != 3 or raw.shape[index] != expected:
            raise ModelLoadError(
                f"the network returned an array of shape {raw.shape} where a detection network "
                f"with {rows - 4} classes returns {expected} in place {index}"
            )

    def replicate(self) -> TorchRuntime:
        """A runtime with a copy of the network, run once."""
        network = copy.deepcopy(self._network)
        replica = TorchRuntime(network, self.facts, self.device, self.precision, self._plan)
        replica.warm_up()
        return replica

    def share_threads(self, num_threads: int, num_workers: int) -> None:
        """See `Runtime.share_threads`."""
        self._plan.share(num_threads, num_workers)

    def close(self) -> None:
        """Let go of the network."""
        self._network = None


def choose_device(wanted: str) -> str:
    """The torch device for what the user asked for.

    Raises:
        ModelLoadError: If it is not there; the message lists what is.
    """
    import torch

    available = ["cpu"]
    if torch.cuda.is_available():
        available += [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        available.append("mps")
    if wanted == "auto":
        return next((d for d in ("cuda:0", "mps") if d in available), "cpu")
    device = "cuda:0" if wanted == "cuda" else wanted
    if device not in available:
        raise ModelLoadError(
            f"device {wanted!r} is not available here; available: {', '.join(available)}"
        )
    return device


def choose_precision(device: str, wanted: str) -> str:
    """The number format on this device; "auto" is "fp16" on an NVIDIA GPU and "fp32" elsewhere.

    Raises:
        ModelLoadError: If torch does not offer it here.
    """
    if wanted == "auto":
        return "fp16" if device.startswith("cuda") else "fp32"
    if wanted == "fp32":
        return wanted
    if wanted == "fp16" and device != "cpu":
        return "fp16"
    raise ModelLoadError(
        f"precision {wanted!r} is not available through ultralytics on {device}; "
        f"available: fp32{'' if device == 'cpu' else ', fp16'}"
    )
