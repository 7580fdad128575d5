"""The worker runs a bundle as it was measured to be quickest, unless it is told otherwise."""

import logging

import pytest

from consumers.classify.batching import BatchPolicy
from consumers.classify.worker import load
from models.bundle import Bundle
from models.manifest import OPTIMISATION
from models.optimisation import serving
from models.optimisation.report import Choice, Machine, Optimisation, Pictures
from models.providers import CPU
from stream.errors import BundleInvalid, ProviderUnavailable
from stream.settings import WorkerSettings
from tests.consumers.site import running
from tests.models.pictures import encoded, gradient
from tests.models.tiny import tiny_files, tiny_manifest

CORES = 4


def measured(*order: tuple[str, int, int]) -> Bundle:
    """A bundle that was measured to be best on these providers, with so many threads and batches."""
    report = Optimisation(
        source="0" * 64,
        machine=Machine(
            system="", processor="", cores=CORES, flags=(), python="", onnxruntime="", providers={"cpu": "works"}
        ),
        pictures=Pictures(n=2, n_real=1, n_fake=1, sources=2, calibration=1, data=(), seed=0),
        largest_loss=0.005,
        latency_objective_ms=250,
        variants=(),
        speeds=(),
        calibration="kept",
        order=[
            Choice(precision="int8", provider=provider, threads=threads, batch=batch)
            for provider, threads, batch in order
        ],
    )
    return Bundle.build(tiny_manifest(precision="int8"), {**tiny_files(), OPTIMISATION: report.to_json()})


@pytest.fixture(autouse=True)
def cores(monkeypatch):
    monkeypatch.setattr("models.optimisation.serving.cores", lambda: CORES)


@pytest.fixture
def threads(monkeypatch):
    """Threads that every session was opened with."""
    given: list[int] = []
    real = serving.open_session

    def opening(model, *, wish="auto", threads=1):
        given.append(threads)
        return real(model, wish=wish, threads=threads)

    monkeypatch.setattr(serving, "open_session", opening)
    return given


def policy(bundle: Bundle, settings: WorkerSettings) -> BatchPolicy:
    return BatchPolicy.of(settings, load(bundle, settings).max_batch)


def test_what_is_not_set_is_taken_from_the_bundle(threads):
    bundle = measured(("cpu", 3, 7))
    assert policy(bundle, WorkerSettings()).max_batch == 7
    assert threads == [3]


def test_more_threads_than_cores_are_not_taken(threads):
    load(measured(("cpu", 16, 1)), WorkerSettings())
    assert threads == [CORES]


def test_an_explicit_setting_wins(threads):
    settings = WorkerSettings(provider="cpu", intra_op_threads=2, max_batch=5)
    assert policy(measured(("cpu", 3, 7)), settings).max_batch == 5
    assert threads == [2]


def test_a_provider_that_is_not_to_be_had_is_named_and_the_next_one_taken(monkeypatch, threads, caplog):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [CPU])
    with caplog.at_level(logging.WARNING, logger="veristream.models"):
        scorer = load(measured(("cuda", 1, 32), ("cpu", 2, 4)), WorkerSettings())
    assert (scorer.provider, scorer.precision, scorer.max_batch) == (CPU, "int8", 4)
    assert threads == [1, 2]
    assert "int8 on cuda" in caplog.text
    assert "does not have it" in caplog.text


def test_an_explicit_provider_is_not_swapped_for_a_measured_one(monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [CPU])
    with pytest.raises(ProviderUnavailable, match="openvino"):
        load(measured(("cpu", 2, 4)), WorkerSettings(provider="openvino"))


def test_without_a_measured_way_that_works_the_defaults_hold(monkeypatch, threads, caplog):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [CPU])
    scorer = load(measured(("cuda", 4, 32)), WorkerSettings())
    assert (scorer.provider, scorer.max_batch, threads[-1]) == (CPU, None, 1)
    assert "none of the measured ways" in caplog.text


def test_a_bundle_that_was_not_measured_gets_the_defaults(threads):
    bundle = Bundle.build(tiny_manifest(), tiny_files())
    assert policy(bundle, WorkerSettings()).max_batch == 64
    assert threads == [1]


def test_a_broken_report_is_the_bundles_fault():
    broken = Bundle.build(tiny_manifest(), {**tiny_files(), OPTIMISATION: b'{"format": 1}'})
    with pytest.raises(BundleInvalid, match=r"optimisation\.json cannot be read"):
        load(broken, WorkerSettings())


def test_verdicts_say_what_runs(embedded_broker, make_site, tmp_path):
    measured(("cpu", 1, 3)).save(tmp_path / "bundle")
    site = make_site(embedded_broker, bundle=str(tmp_path / "bundle"))
    with running(site):
        site.send([site.upload("up-1", encoded(gradient(120, 90), "JPEG"), "image/jpeg")])
        site.wait_answered(1)
    [verdict] = site.verdicts()
    assert (verdict.model.provider, verdict.model.precision) == (CPU, "int8")
