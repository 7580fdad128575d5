import json
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from compose.cli import main
from models.bundle import Bundle
from models.evaluation import pictures

MODELS_WITHOUT_TORCH = "import sys, compose.cli.models; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"


def test_scenes_export_writes_the_zip_that_training_reads(tmp_path: Path) -> None:
    out = tmp_path / "scenes.zip"
    assert main(["scenes", "export", str(out), "--per-family", "1", "--size", "64", "--all"]) == 0
    with zipfile.ZipFile(out) as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {"real", "fake"}


def test_scenes_export_refuses_an_unknown_family(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenes", "export", str(tmp_path / "a.zip"), "--family", "dream"]) == 2
    assert "no family 'dream'" in capsys.readouterr().err


def test_the_golden_set_is_of_the_families_that_the_demo_knows(tmp_path: Path) -> None:
    first, again = tmp_path / "a.zip", tmp_path / "b.zip"
    assert main(["scenes", "golden", str(first), "--pictures", "20"]) == 0
    assert main(["scenes", "golden", str(again), "--pictures", "20"]) == 0
    assert first.read_bytes() == again.read_bytes()
    (golden,) = pictures.index([first])
    sources = Counter(entry.source for entry in golden.entries)
    known = {source.name for source in Bundle.named("demo").manifest.training_data.sources}
    assert set(sources) == known
    assert sources["real/simulated-camera"] == 10


def test_scenes_families_says_which_are_trained_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenes", "families"]) == 0
    assert "grain\tunseen" in capsys.readouterr().out


def test_the_shipped_bundle_is_whole_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    bundle = Bundle.default()
    assert main(["models", "verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["digest"] == bundle.digest
    assert main(["models", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["manifest"]["name"] == bundle.manifest.name
    assert main(["models", "show"]) == 0
    assert "veristream-default" in capsys.readouterr().out


def test_a_changed_bundle_fails_to_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Bundle.default().save(tmp_path / "bundle")
    (tmp_path / "bundle" / "MODEL_CARD.md").write_text("Perfect.")
    assert main(["models", "verify", str(tmp_path / "bundle")]) == 1
    assert "MODEL_CARD.md has changed" in capsys.readouterr().err


def test_training_on_nothing_is_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="training needs the train extra")
    missing = str(tmp_path / "missing.zip")
    assert main(["models", "train", "--data", missing, "--out", str(tmp_path / "out")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert main(["models", "fit-decoders", "--data", missing, "--out", str(tmp_path / "out")]) == 2


def test_showing_a_bundle_needs_no_torch() -> None:
    assert subprocess.run([sys.executable, "-c", MODELS_WITHOUT_TORCH], check=False).returncode == 0
