"""Opens an ONNX Runtime session on the execution provider that was wished for, and says which one it really got.

ONNX Runtime's GPU build lists CUDA and TensorRT on a machine without a GPU, opens a session all the same, and runs it
on the CPU; only a log line and `get_providers` of the session tell. So the session is asked, an explicit wish that was
not granted is an error, and the runtime's own fallback (which prints to standard output) is switched off.
"""

from collections.abc import Mapping
from typing import Literal

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

from stream.errors import BundleInvalid, ProviderUnavailable

Provider = Literal["tensorrt", "cuda", "openvino", "cpu"]
Wish = Literal["auto", "tensorrt", "cuda", "openvino", "cpu"]

TENSORRT, CUDA, CPU = "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"
PROVIDERS: Mapping[Provider, str] = {"tensorrt": TENSORRT, "cuda": CUDA, "openvino": OPENVINO, "cpu": CPU}
# Which of its own errors ONNX Runtime has differs between its releases; OpenVINO's build is some behind.
RUNTIME_ERRORS: tuple[type[Exception], ...] = (
    *(
        getattr(state, name)
        for name in (
            "DeviceReset", "EPFail", "EngineError", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf",
            "NoModel", "NotImplemented", "RuntimeException",
        )
        if hasattr(state, name)
    ),
    RuntimeError,
    ValueError,
)  # fmt: skip

_FATAL = 4
# TensorRT compiles an engine for minutes at its first start, and OpenVINO rounds int8 another way than the CPU that a
# bundle was calibrated on; so only an explicit wish, or a bundle that was measured on them, gets them.
_CANDIDATES: dict[Wish, tuple[tuple[str, ...], ...]] = {
    "auto": ((CUDA, CPU), (CPU,)),
    "tensorrt": ((TENSORRT, CUDA, CPU),),
    "cuda": ((CUDA, CPU),),
    "openvino": ((OPENVINO, CPU),),
    "cpu": ((CPU,),),
}


def listed() -> list[str]:
    """Providers that this build of ONNX Runtime names; whether they load here is another matter."""
    names: list[str] = onnxruntime.get_available_providers()
    return names


def open_session(model: bytes, *, wish: Wish = "auto", threads: int = 1) -> onnxruntime.InferenceSession:
    """Opens a session; ``get_providers()[0]`` of it is the provider in use.

    Args:
        model: The ONNX file, which must hold all its data itself (`models.onnxfile`).
        wish: ``auto`` takes CUDA where it works and the CPU elsewhere; any other name takes that or fails.
        threads: Threads one run may use on the CPU or with OpenVINO. They do not spin: decoding threads need the cores.

    Raises:
        ProviderUnavailable: An explicit wish that cannot be granted here.
        BundleInvalid: ONNX Runtime refuses the model.
    """
    onnxruntime.set_default_logger_severity(_FATAL)  # whatever it would log is raised or checked here
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    reason = "the session runs elsewhere"
    for providers in _CANDIDATES[wish]:
        if providers[0] not in listed():
            reason = "this build of ONNX Runtime does not have it"
            continue
        try:
            session = onnxruntime.InferenceSession(
                model,
                options,
                providers=list(providers),
                provider_options=_options(providers, threads),
                enable_fallback=0,
            )
        except RUNTIME_ERRORS as error:
            if providers[0] == CPU:
                raise BundleInvalid(f"ONNX Runtime refuses the model: {error}") from error
            reason = str(error)
            continue
        if session.get_providers()[0] == providers[0]:
            return session
    remedy = "Install its libraries and driver, or set the provider to auto or cpu"
    raise ProviderUnavailable(f"{wish} was asked for and is not to be had: {reason}", remedy=remedy)


def _options(providers: tuple[str, ...], threads: int) -> list[dict[str, str]]:
    # OpenVINO has its own threads and would take all cores.
    openvino = {"device_type": "CPU", "num_of_threads": str(threads), "num_streams": "1"}
    return [openvino if name == OPENVINO else {} for name in providers]
