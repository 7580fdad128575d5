import json

import pytest

from compose.cli import main
from models.bundle import Bundle
from models.classifier import Classifier
from models.manifest import CARD
from models.optimisation.measuring import Bench
from models.optimisation.report import Optimisation
from stream.errors import BundleInvalid, ModelError
from tests.models.evaluation.collections import files, zipped
from tests.models.optimisation.nets import bundle, graph
from tests.models.tiny import tiny_bundle

QUICK = ["--seconds", "0", "--rounds", "1", "--batches", "1,2", "--threads", "1"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("optimise")
    bundle().save(folder / "float")
    zipped(folder / "pictures.zip", {**files(), "real/north/broken.jpg": b"\xff\xd8\xff nothing"})
    return folder


@pytest.fixture(scope="module")
def made(site):
    given = [str(site / "float"), "--data", str(site / "pictures.zip"), "--out", str(site / "quick")]
    assert main(["models", "optimise", *given, "--json", str(site / "report.json"), "--loss", "0.2", *QUICK]) == 0
    return Bundle.open(site / "quick")


def refused(site, capsys, *, name="float", data="pictures.zip", status=2, out="refused", more=()) -> str:
    given = [str(site / name), "--data", str(site / data), "--out", str(site / out)]
    before = sorted(path.name for path in site.iterdir())
    assert main(["models", "optimise", *given, *QUICK, *more]) == status
    assert sorted(path.name for path in site.iterdir()) == before
    return " ".join(capsys.readouterr().err.split())


def test_everything_is_measured_and_the_pick_is_one_of_it(site, made):
    report = made.optimisation
    assert report.source == Bundle.open(site / "float").digest
    assert json.loads((site / "report.json").read_text()) == json.loads(report.to_json())
    on_cpu = {speed.precision: speed for speed in report.speeds if speed.provider == "cpu"}
    assert set(on_cpu) == {"fp32", "int8"}
    assert {(speed.threads, speed.batch) for speed in report.speeds if speed.provider == "cpu"} == {(1, 1), (1, 2)}
    for speed in report.speeds:
        assert 0 < speed.p50_ms <= speed.p99_ms
        assert speed.cpu_ms > 0
        assert 20 < speed.memory_mib < 2000
    own, *others = report.variants
    assert (own.precision, own.auc_difference, own.largest_change, own.verdicts_changed) == ("fp32", 0, 0, 0)
    assert all(0 < variant.largest_change < 0.2 for variant in others if variant.precision == "int8")
    assert all(variant.batch_change <= 1e-3 for variant in report.variants)
    assert report.pictures.n + report.pictures.calibration == 27
    assert report.pictures.unreadable == 1
    assert any(speed.model_dump().items() >= report.pick.model_dump().items() for speed in report.speeds)


def test_the_new_bundle_runs_what_was_picked_and_says_so(site, made):
    report, old = made.optimisation, Bundle.open(site / "float")
    assert made.manifest.precision == report.pick.precision
    assert made.digest != old.digest
    assert (made.model == old.model) is (report.pick.precision == "fp32")
    classifier = Classifier.load(made)
    assert classifier.precision == report.pick.precision
    assert classifier.max_batch == report.pick.batch
    card = made.files[CARD].decode()
    assert card.startswith("# Tiny")
    assert f"Runs {report.pick}." in card


def test_optimising_again_measures_the_picked_model_only(site, made, monkeypatch):
    monkeypatch.chdir(site)
    assert main(["models", "optimise", "quick", "--data", "pictures.zip", *QUICK]) == 0
    again = Bundle.open(f"{made.manifest.name}-{made.manifest.version}-optimised")
    if made.manifest.precision == "int8":
        assert {variant.precision for variant in again.optimisation.variants} == {"int8"}
        assert again.model == made.model
    assert again.files[CARD].decode().count("## Optimisation") == 1


def test_show_prints_what_was_measured(site, made, capsys):
    assert main(["models", "show", str(site / "quick")]) == 0
    assert f"Pick: {made.optimisation.pick}" in " ".join(capsys.readouterr().out.split())
    assert main(["models", "show", str(site / "quick"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert Optimisation.model_validate(shown["optimisation"]) == made.optimisation


def test_what_loses_too_much_is_measured_and_not_picked(site):
    given = [str(site / "float"), "--data", str(site / "pictures.zip"), "--out", str(site / "strict")]
    assert main(["models", "optimise", *given, "--loss", "0", *QUICK]) == 0
    report = Bundle.open(site / "strict").optimisation
    allowed = {(variant.precision, variant.provider) for variant in report.variants if variant.auc_difference >= 0}
    assert {(choice.precision, choice.provider) for choice in report.order} <= allowed


def test_eight_bits_that_cannot_be_scored_leave_the_float_model(site, monkeypatch, capsys):
    score = Bench.scores

    def fails(self, precision, *args, **given):
        if precision == "int8":
            raise ModelError("a batch took longer than 900 s")
        return score(self, precision, *args, **given)

    monkeypatch.setattr(Bench, "scores", fails)
    given = [str(site / "float"), "--data", str(site / "pictures.zip"), "--out", str(site / "unscored")]
    assert main(["models", "optimise", *given, *QUICK]) == 0
    report = Bundle.open(site / "unscored").optimisation
    assert report.pick.precision == "fp32"
    assert any("int8 on cpu: a batch took longer" in reason for reason in report.skipped)
    assert "int8: ranges on" in capsys.readouterr().err


def test_a_model_that_cannot_be_timed_is_refused_in_words(site, monkeypatch, capsys):
    monkeypatch.setattr(Bench, "speeds", lambda *args, **given: ([], ["fp32 on cpu, 1 thread: it took too long"]))
    assert "could be timed: fp32 on cpu, 1 thread: it took too long" in refused(site, capsys, status=1)


def test_a_changed_bundle_is_refused(site, capsys):
    bundle().save(site / "changed")
    model = site / "changed" / "model.onnx"
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.write_bytes(data)
    assert "model.onnx has changed" in refused(site, capsys, name="changed", status=1)


def test_one_class_only_is_refused(site, capsys):
    zipped(site / "real.zip", {name: data for name, data in files().items() if name.startswith("real")})
    assert "There are no pictures under fake/" in refused(site, capsys, data="real.zip")
    zipped(site / "broken.zip", {"real/a/1.jpg": files()["real/north/00.jpg"], "fake/a/1.jpg": b"\xff\xd8\xffno"})
    assert "Too few pictures can be decoded" in refused(site, capsys, data="broken.zip")


def test_a_place_that_is_taken_is_refused(site, capsys):
    assert "something in the bundle's place" in refused(site, capsys, out="float", status=1)


def test_scores_that_are_no_numbers_are_refused(site, capsys):
    bundle(graph(spoil=float("nan"))).save(site / "spoilt")
    shown = refused(site, capsys, name="spoilt", status=1)
    assert "not finite" in shown
    assert "where: fp32 on cpu" in shown


def test_a_list_that_is_none_is_refused(site, capsys):
    assert "'0,1' is not a list of positive numbers" in refused(site, capsys, more=["--batches", "0,1"])


def test_a_model_without_layers_is_measured_as_it_is(site):
    tiny_bundle().save(site / "plain")
    given = [str(site / "plain"), "--data", str(site / "pictures.zip"), "--out", str(site / "plain-out")]
    assert main(["models", "optimise", *given, *QUICK]) == 0
    report = Bundle.open(site / "plain-out").optimisation
    assert any("no layer" in reason for reason in report.skipped)
    assert report.pick.precision == "fp32"


def test_a_report_that_cannot_be_read_is_the_bundles_fault():
    with pytest.raises(BundleInvalid, match=r"optimisation.json cannot be read"):
        Optimisation.from_json(b'{"format": 2}')
