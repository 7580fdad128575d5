"""Whether a cluster can ever hold what a job asks of it, asked before it is submitted: Ray would wait for ever."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from stream.errors import JobFailed

_log = logging.getLogger("veristream.retrain")


def require(machines: Sequence[float], *, cpus: int, workers: int, where: str, grows: bool) -> None:
    """Looks whether the machines, were all of them idle, have room for every worker.

    Ray does not tell a client whether an autoscaler stands behind a cluster, so whoever runs it has to
    (``VERISTREAM_RETRAIN__RAY_AUTOSCALES``); such a cluster is waited for, with a warning.

    Args:
        machines: The CPUs of each.
        cpus: That each worker asks for, on one machine.
        workers: How many there are at once.
        where: The cluster's address.
        grows: Whether it gets more machines when they are asked for.

    Raises:
        JobFailed: They have not, and will not.
    """
    if sum(int(machine // cpus) for machine in machines) >= workers:
        return
    has = ", ".join(f"{machine:g}" for machine in sorted(machines, reverse=True)) or "none"
    what = f"{workers} × {cpus} CPUs are asked for, and the cluster's machines, busy or idle, have {has}"
    if grows:
        _log.warning("%s (%s): waiting until it has grown, or the job's time is over", what, where)
        return
    remedy = (
        "Add machines, lower VERISTREAM_RETRAIN__WORKERS or VERISTREAM_RETRAIN__THREADS, or, where the cluster grows "
        "when it is asked to, set VERISTREAM_RETRAIN__RAY_AUTOSCALES=true"
    )
    raise JobFailed(what, where=where, remedy=remedy)
