"""Judges windows: Evidently's figures against the reference's thresholds, then the policy, then a report.

Nothing here reads or writes Kafka; `drift.service` brings windows and takes reports away. One window, one report, with
the same id whenever the same records are judged again.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from drift.divergence import BACKWARD, FORWARD
from drift.evaluator import Evaluator
from drift.keeper import Keeper
from drift.metrics import DriftMetrics
from drift.reference import Reference
from drift.windows import Key, Window
from stream.errors import VeristreamError
from stream.events import ComponentDrift, DriftReport
from stream.ports import Clock

_log = logging.getLogger("veristream.drift")
