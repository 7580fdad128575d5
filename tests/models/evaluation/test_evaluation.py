"""`veristream models evaluate` on a tiny bundle and pictures made on the spot."""

import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from compose.cli import main
from models.bundle import Bundle
from models.classifier import Classifier
from models.decode import decode
from models.evaluation.files import write
from stream.errors import ConfigurationError
from tests.models.evaluation.collections import files, folder, picture, zipped
from tests.models.tiny import CALIBRATED, tiny_bundle, tiny_graph

FIGURES = ("auc", "auc_pooled", "accuracy", "balanced_accuracy", "fpr", "fnr", "abstained")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny bundle and a zip of pictures."""
    path = tmp_path_factory.mktemp("evaluation")
    tiny_bundle().save(path / "bundle")
    zipped(path / "pictures.zip", files())
    return path


def run(place, *arguments, data=("pictures.zip",), bundle="bundle"):
    return main(
        ["models", "evaluate", str(place / bundle), "--data", *(str(place / name) for name in data), *arguments]
    )


@pytest.fixture(scope="module")
def found(place):
    assert run(place, "--json", str(place / "out.json"), "--report", str(place / "out.html")) == 0
    return json.loads((place / "out.json").read_text())


def test_the_json_has_every_figure_with_its_interval(found):
    assert (found["n"], found["n_real"], found["n_fake"]) == (27, 15, 12)
    assert list(found["tiers"]) == ["clean", "web", "hard"]
    for tier in found["tiers"].values():
        assert set(tier["slices"]["source"]) == {"north", "south", "bright"}
        for part in (tier, *tier["slices"]["source"].values()):
            for name in FIGURES:
                assert part[name] is None or 0 <= part[name] <= 1
                assert part[f"{name}_ci95"] is None or part[f"{name}_ci95"][0] <= part[f"{name}_ci95"][1]
    assert found["slices"] == found["tiers"]["clean"]["slices"]
    for name in ("ece", "flip_rate", "real_vs_real"):
        assert 0 <= found[name] <= 1
    assert min(found["real_vs_real"], found["real_vs_real_detail"]["chance"]) >= 0.5


def test_figures_follow_from_what_the_model_says_of_each_picture(found):
    content = files()
    classifier = Classifier.load(tiny_bundle())
    p = {name: classifier.predict([classifier.prepare(decode(data))])[0].p_ai for name, data in content.items()}
    above = CALIBRATED.thresholds.ai_above.value
    by_source = [
        np.mean([p[name] > above for name in p if name.startswith(source)]) for source in ("real/north", "real/south")
    ]
    assert found["tiers"]["clean"]["fpr"] == pytest.approx(np.mean(by_source), abs=1e-4)
    assert found["slices"]["source"]["south"]["fpr"] == pytest.approx(by_source[1], abs=1e-4)


def test_a_name_under_both_classes_is_a_pair_and_one_class_is_set_against_all(found):
    sources = found["slices"]["source"]
    assert {name: part["auc_against"] for name, part in sources.items()} == {
        "north": "slice", "south": "all", "bright": "all",
    }  # fmt: skip
    assert (sources["north"]["n_real"], sources["north"]["n_fake"]) == (6, 5)
    assert sources["south"]["fnr"] is None
    assert set(found["slices"]["generator"]) == {"bright", "north"}


def test_brightness_is_all_that_moves_this_model(found):
    tests = found["metamorphic"]
    for name in ("flip", "no_metadata", "png"):
        assert tests[name]["crossed"] <= 0.1
    assert tests["any"]["changed"] >= max(tests[name]["changed"] for name in tests if name != "any")
    assert found["flip_rate"] == tests["any"]["reversed"]
    modes = found["failure_modes"]
    assert modes["unchanged"]["fpr"] == found["tiers"]["clean"]["fpr"]
    assert modes["low_light"]["fpr"] == 0 < modes["unchanged"]["n"] == 15


def test_the_worst_source_of_photographs_is_named(found):
    for tier in found["tiers"].values():
        lost = {name: part["fpr"] for name, part in tier["slices"]["source"].items() if part["n_real"]}
        worst = tier["worst_source"]
        assert worst["fpr"] == max(lost.values()) == lost[worst["name"]]
        assert worst["n_real"] == tier["slices"]["source"][worst["name"]]["n_real"]


def test_leaving_the_tests_out_and_threads_change_no_other_figure(place, capsys):
    figures = []
    for options in (["--threads", "1"], ["--threads", "3", "--quick", "--report", str(place / "quick.html")]):
        assert run(place, "--json", "-", *options) == 0
        figures.append(json.loads(capsys.readouterr().out))
    whole, quick = figures
    assert quick["flip_rate"] is quick["flip_rate_ci95"] is None
    assert quick["metamorphic"] == quick["failure_modes"] == {}
    assert {name for name in whole if whole[name] != quick[name]} == {
        "flip_rate", "flip_rate_ci95", "metamorphic", "failure_modes",
    }  # fmt: skip
    assert "were left out of this run" in (place / "quick.html").read_text()


class Page(HTMLParser):
    """Elements that are open, and addresses that a browser would fetch."""

    def __init__(self):
        super().__init__()
        self.open, self.charts, self.fetched = [], 0, []

    def handle_starttag(self, tag, attrs):
        self.charts += tag == "svg"
        self.fetched += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_fetches_nothing(place, found):
    text = (place / "out.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.charts == 7
    assert page.fetched == []
    assert "url(" not in text
    assert "$" not in text
    assert f"{found['tiers']['web']['auc']:.3f}" in text


def test_a_collection_of_authentic_pictures_only_is_kept_apart(place, capsys):
    art = zipped(place / "art.zip", {f"real/art/{number}.jpg": picture(number, 0.8) for number in range(5)})
    page = place / "art.html"
    assert run(place, "--json", "-", "--tiers", "clean", "--report", str(page), data=["pictures.zip", "art.zip"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["slices"]["collection"]) == {"pictures.zip", "art.zip"}
    assert found["failure_modes"]["art.zip"] == {
        name: found["slices"]["source"]["art"][name] for name in ("fpr", "fpr_ci95", "abstained", "abstained_ci95", "n")
    }
    assert found["failure_modes"]["art.zip"]["fpr"] > found["failure_modes"]["unchanged"]["fpr"] > 0
    assert "pictures.zip" not in found["failure_modes"]
    assert "collection art.zip" in page.read_text()
    art.unlink()
    page.unlink()


def test_names_are_escaped_in_the_page(place):
    zipped(place / "named.zip", files({"real/a<b&c": 4, "fake/x": 4}))
    assert run(place, "--report", str(place / "named.html"), data=["named.zip"]) == 0
    page = (place / "named.html").read_text()
    assert "a&lt;b&amp;c" in page
    assert "a<b" not in page


def test_runs_repeat_on_stdout_and_tiers_can_be_picked(place, capsys):
    outputs = []
    for seed in ("3", "3", "4"):
        assert run(place, "--json", "-", "--tiers", "hard", "--seed", seed) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] != outputs[2]
    hard = json.loads(outputs[0])
    assert list(hard["tiers"]) == ["hard"]
    assert run(place, "--json", "-", "--quick", "--tiers", "web, hard") == 0
    assert list(json.loads(capsys.readouterr().out)["tiers"]) == ["web", "hard"]
    assert hard["slices"]["source"]["south"]["n"] == 9


def test_the_control_is_the_same_area_on_the_screen_in_the_page_and_in_the_json(place, found, capsys):
    assert run(place, "--quick", "--tiers", "clean") == 0
    low, high = found["real_vs_real_ci95"]
    area, chance = found["real_vs_real"], found["real_vs_real_detail"]["chance"]
    told = f"real against real: AUC {area:.3f} ({low:.3f}–{high:.3f}), {chance:.3f} by chance, .5 is not at all"
    assert told in " ".join(capsys.readouterr().out.split())
    page = (place / "out.html").read_text()
    assert f"is {area:.3f} on average" in page
    assert f"it would be {chance:.3f}." in page


def test_a_folder_beside_a_zip_samples_and_the_summary(place, capsys):
    folder(place / "more", {"real/east/1.png": picture(7, 0.2, kind="PNG"), "real/east/2.jpg": b"\xff\xd8\xff broken"})
    assert run(place, "--per-source", "3", "--tiers", "clean", data=["pictures.zip", "more"]) == 0
    out = capsys.readouterr().out
    assert "on 13 pictures" in out
    assert "abstained" in out


def test_pictures_that_cannot_be_decoded_are_counted(place, capsys):
    zipped(
        place / "some.zip",
        {**files(), "real/bad/1.jpg": b"\xff\xd8\xff no", "real/bad/2.jpg": b"", "fake/b/1.png": b"x"},
    )
    assert run(place, "--json", "-", data=["some.zip"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["unreadable"] == {"TruncatedImage": 1, "NotAnImage": 2}
    assert found["n"] == 27
    assert "bad" not in found["slices"]["source"]


def refused(place, capsys, code, words, *arguments, **data):
    before = sorted(place.rglob("*"))
    outputs = ("--json", str(place / "no.json"), "--report", str(place / "no.html"))
    assert run(place, *(arguments or outputs), **data) == code
    assert words in " ".join(capsys.readouterr().err.split())
    assert sorted(place.rglob("*")) == before


def test_bad_pictures_are_refused_and_nothing_is_written(place, capsys):
    zipped(place / "empty.zip", {})
    zipped(place / "reals.zip", files({"real/a": 2}))
    zipped(place / "undecodable.zip", {**files({"real/a": 2}), "fake/b/1.jpg": b"\xff\xd8\xff no"})
    (place / "cut.zip").write_bytes((place / "pictures.zip").read_bytes()[:3000])
    for name, words in (
        ("empty.zip", "no labelled pictures"),
        ("reals.zip", "no pictures under fake/"),
        ("undecodable.zip", "of one class only"),
        ("cut.zip", "cannot be read"),
    ):
        refused(place, capsys, 2, words, data=[name])


def test_a_changed_bundle_and_scores_that_are_no_numbers_are_refused(place, capsys):
    Bundle.open(place / "bundle").save(place / "changed")
    (place / "changed" / "MODEL_CARD.md").write_text("Perfect.")
    refused(place, capsys, 1, "MODEL_CARD.md has changed", bundle="changed")
    tiny_bundle(tiny_graph(scale=float("nan"))).save(place / "nan")
    refused(place, capsys, 1, "not finite", bundle="nan")
    tiny_bundle(tiny_graph(scale=1e36)).save(place / "bright-fails")  # a blank picture passes
    refused(place, capsys, 1, "pictures.zip: fake/bright", bundle="bright-fails")


def test_wrong_options_are_refused_before_the_work(place, capsys):
    refused(place, capsys, 2, "no tier 'dirty'", "--tiers", "clean,dirty")
    refused(place, capsys, 2, "no file can be written", "--json", str(place / "missing" / "out.json"))
    os.mkfifo(place / "pipe")
    refused(place, capsys, 2, "no file can be written", "--json", str(place / "pipe"))
    refused(place, capsys, 2, "to one file", "--json", str(place / "x"), "--report", str(place / "x"))


def test_results_are_written_together_or_not_at_all(tmp_path):
    (tmp_path / "first").write_text("old")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write({tmp_path / "first": "new", tmp_path / "missing" / "second": "new"})
    assert [path.name for path in tmp_path.iterdir()] == ["first"]
    assert (tmp_path / "first").read_text() == "old"


def test_evaluation_needs_no_torch():
    code = "import sys, models.evaluation.report; sys.exit(bool({'torch', 'sklearn', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.data
def test_the_shipped_bundle_on_a_sample_of_pictures(tmp_path, data_dir):
    zips = [str(data_dir / name) for name in ("photos-more.zip", "art-train.zip")]
    arguments = ["--data", *zips, "--per-source", "1", "--tiers", "clean", "--json", str(tmp_path / "out.json")]
    assert main(["models", "evaluate", "default", *arguments]) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert (found["n_real"], found["n_fake"]) == (18, 11)
    assert found["slices"]["source"]["xonotic-game"]["n_real"] == 1
    assert found["slices"]["original_format"]
