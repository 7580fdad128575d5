"""Opens a bundle's model the way it was measured to be quickest, where that is to be had."""

import logging

import onnxruntime

from models.bundle import Bundle
from models.optimisation.machine import cores
from models.optimisation.report import Choice
from models.providers import Wish, open_session
from stream.errors import ProviderUnavailable

_log = logging.getLogger("veristream.models")


def opened(
    bundle: Bundle, *, wish: Wish = "auto", threads: int | None = None
) -> tuple[onnxruntime.InferenceSession, Choice | None]:
    """Opens the model and says which measured way it runs.

    An explicit provider or number of threads is always obeyed. With ``auto`` the bundle's measured ways are tried, the
    quickest first, and a warning names each that is not to be had here.

    Args:
        bundle: A checked bundle.
        wish: The execution provider.
        threads: Threads one run may use on the CPU; None: as measured, and 1 where nothing was.

    Returns:
        The session, and the measured way it follows; None where the bundle was not measured on its provider.

    Raises:
        ProviderUnavailable: An explicit wish that cannot be granted here.
        BundleInvalid: ONNX Runtime refuses the model, or `optimisation.json` cannot be read.
    """
    report = bundle.optimisation
    if wish != "auto" or report is None:
        choice = report.on(wish) if report is not None and wish != "auto" else None
        return open_session(bundle.model, wish=wish, threads=_threads(threads, choice)), choice
    for choice in report.order:
        try:
            return open_session(bundle.model, wish=choice.provider, threads=_threads(threads, choice)), choice
        except ProviderUnavailable as error:
            _log.warning("%s was measured to be quickest and is not to be had here: %s", choice, error.what)
    _log.warning("none of the measured ways to run %s is to be had here", bundle.manifest.name)
    return open_session(bundle.model, threads=threads or 1), None


def _threads(asked: int | None, choice: Choice | None) -> int:
    return asked or (min(choice.threads, cores()) if choice else 1)
