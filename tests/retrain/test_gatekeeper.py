"""Where the gate's pictures come from: a golden set by path or URI, and the slice that a job held out."""

from pathlib import Path
from zipfile import ZipFile

import pytest

from retrain.gatekeeper import Gatekeeper
from stream.doubles import MemoryBlobs
from stream.errors import ConfigurationError, JobInterrupted
from stream.settings import GateSettings, RetrainSettings
from tests.models.adaptation import bundles

GATE = GateSettings(latency=50.0, tiers=("clean",), fewest=20)


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("golden")
    bundles.folder(path / "golden", {"real/real": 160, "fake/fake": 160})
    with ZipFile(path / "golden.zip", "w") as archive:
        for file in sorted((path / "golden").rglob("*.png")):
            archive.write(file, file.relative_to(path / "golden"))
    return path


def keeper(store: MemoryBlobs, golden: str = "", **gate: object) -> Gatekeeper:
    return Gatekeeper(RetrainSettings(golden=golden, threads=1, gate=GATE.model_copy(update=gate)), store)


def test_the_golden_set_may_lie_anywhere(golden):
    store, bundle = MemoryBlobs(), bundles.bundle()
    uri = store.write("golden.zip", (golden / "golden.zip").read_bytes(), media_type="application/zip")
    reports = [
        keeper(store, named, fpr=0.5).judge(bundle, bundle, None)
        for named in (uri, str(golden / "golden.zip"), str(golden / "golden"))
    ]
    assert all(report.passed for report in reports), reports
    assert {report.figures["golden_auc_champion"] for report in reports} == {reports[0].figures["golden_auc_champion"]}
    assert keeper(store, uri).check().startswith("golden set of 320 pictures (")
    assert keeper(store).check() == "no golden set"


@pytest.mark.parametrize("named", ["memory://none.zip", "/nowhere/golden.zip"])
def test_a_golden_set_that_is_not_there_is_an_error_and_no_pass(named):
    with pytest.raises(ConfigurationError):
        keeper(MemoryBlobs(), named).check()


def test_a_slice_of_one_class_is_a_reason_to_refuse(golden, tmp_path):
    store, bundle = MemoryBlobs(), bundles.bundle()
    with ZipFile(tmp_path / "slice.zip", "w") as archive:
        for file in sorted((golden / "golden" / "real").rglob("*.png"))[:20]:
            archive.write(file, file.relative_to(golden / "golden"))
    uri = store.write("slice.zip", (tmp_path / "slice.zip").read_bytes(), media_type="application/zip")
    report = keeper(store, str(golden / "golden"), fpr=0.5).judge(bundle, bundle, uri)
    assert not report.passed
    assert "the drifted slice cannot be used" in report.reasons[0]


def test_a_judgement_can_be_stopped(golden):
    stopped = keeper(MemoryBlobs(), str(golden / "golden"))
    stopped.stop()
    with pytest.raises(JobInterrupted):
        stopped.judge(bundles.bundle(), bundles.bundle(), None)
