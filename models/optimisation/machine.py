"""The machine that something was measured on, in words, and the execution providers that really work there."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import onnxruntime

from models.optimisation.report import Machine
from models.providers import PROVIDERS, Provider, listed, open_session
from stream.errors import ProviderUnavailable

_FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimddp", "i8mm", "sve")
_CPUINFO = Path("/proc/cpuinfo")


def describe(model: bytes) -> tuple[Machine, tuple[Provider, ...]]:
    """Describes this machine, trying every provider that ONNX Runtime lists with a model.

    Returns:
        The description, and the providers that work.

    Raises:
        BundleInvalid: ONNX Runtime refuses the model.
    """
    found: dict[str, str] = {}
    working: list[Provider] = []
    for provider, name in PROVIDERS.items():
        if name not in listed():
            continue
        try:
            open_session(model, wish=provider)
        except ProviderUnavailable as error:
            found[provider] = error.what
        else:
            found[provider] = "works"
            working.append(provider)
    info = _cpuinfo()
    flags = set((info.get("flags") or info.get("Features", "")).split())
    machine = Machine(
        system=f"{platform.system()} {platform.machine()}",
        processor=info.get("model name") or platform.processor() or platform.machine(),
        cores=cores(),
        flags=tuple(flag for flag in _FLAGS if flag in flags),
        python=platform.python_version(),
        onnxruntime=onnxruntime.__version__,
        providers=found,
    )
    return machine, tuple(working)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpuinfo() -> dict[str, str]:
    """What Linux says of the first core; nothing elsewhere."""
    if not _CPUINFO.is_file():
        return {}
    pairs = (line.partition(":") for line in _CPUINFO.read_text().split("\n\n", 1)[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
