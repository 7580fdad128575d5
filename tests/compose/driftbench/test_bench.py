import json
import math
from pathlib import Path

import numpy as np
import pytest

from compose.cli import main
from compose.driftbench import pool, run
from compose.driftbench.figures import breaches, figures, poisson
from compose.driftbench.pool import SHOTS, PoolPlan
from compose.driftbench.streams import World
from compose.driftbench.trials import BenchPlan, Outcome, Trial
from drift.policy import Rules
from models.bundle import Bundle
from producers.traffic.scenes import CAMERA, TRAINED_FAMILIES, UNSEEN_FAMILIES
from stream.errors import ConfigurationError

PLAN = BenchPlan(
    window=100, reference=300, calibration=500, alpha=0.02, components=4, repetitions=200, clean=600, share=0.3,
    within=2000, rules=Rules(minimum=100),
)  # fmt: skip
DIMENSIONS = 8
NEW = UNSEEN_FAMILIES[0]


def kept(folder: Path, *, apart: float = 5.0) -> Path:
    """A pool of made-up embeddings, in which one unseen family lies apart and another does not."""
    rng = np.random.default_rng(0)
    counts = {CAMERA: 900, **dict.fromkeys(TRAINED_FAMILIES, 120), **dict.fromkeys(UNSEEN_FAMILIES, 120)}
    families = np.array([family for family, count in counts.items() for _ in range(count)])
    vectors = rng.normal(size=(len(families), 1, DIMENSIONS)) + rng.normal(size=(len(families), SHOTS, DIMENSIONS)) / 9
    vectors[families == NEW, :, -1] += apart
    scores = rng.random((len(families), SHOTS)).astype(np.float32)
    path = folder / "pool.npz"
    np.savez(path, vectors=vectors.astype(np.float16), scores=scores, families=families)
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kept(tmp_path_factory.mktemp("kept"))


class TestWorld:
    def test_no_picture_is_in_the_reference_and_in_a_stream(self, path):
        world = World(pool.load(path), seed=1)
        reference, stream = world.reference(400), world.stream(400, number=0)
        assert not {row.tobytes() for row in reference.vectors} & {row.tobytes() for row in stream.vectors}
        assert len({row.tobytes() for row in reference.vectors}) == 400

    def test_streams_repeat_as_posts_do_and_are_the_same_twice(self, path):
        world = World(pool.load(path), seed=2)
        world.reference(300)
        one, again, other = (world.stream(500, number=number) for number in (0, 0, 1))
        assert 400 < len({row.tobytes() for row in one.vectors}) < 500
        np.testing.assert_array_equal(one.vectors, again.vectors)
        assert (one.vectors != other.vectors).any()

    def test_a_family_enters_when_and_as_much_as_told(self, tmp_path):
        world = World(pool.load(kept(tmp_path, apart=9.0)), seed=3)
        world.reference(300)
        vectors, _ = world.stream(600, number=0, family=NEW, share=0.25, since=200)
        new = vectors[:, -1] > 5
        assert not new[:200].any()
        assert 0.15 < new[200:].mean() < 0.35

    def test_a_family_left_out_is_not_in_ordinary_traffic(self, path):
        embeddings = pool.load(path)
        left_out = TRAINED_FAMILIES[0]
        rows = {row.tobytes() for row in embeddings.vectors[embeddings.families == left_out].reshape(-1, DIMENSIONS)}
        world = World(embeddings, seed=4, left_out=left_out)
        drawn = np.concatenate([world.reference(300).vectors, world.stream(300, number=0).vectors])
        assert not {row.astype(np.float16).tobytes() for row in drawn} & rows


class TestRun:
    def test_what_lies_apart_is_alarmed_and_what_does_not_is_not(self, path):
        chosen = run.planned([NEW, *UNSEEN_FAMILIES[1:]], streams=3, runs=3, seed=1)
        found = list(run.outcomes(path, PLAN, chosen, processes=1, advance=lambda step: None))
        report = figures(found, PLAN, [NEW], seed=0)
        assert report["detected_within_2000"] == 1.0
        assert report["delay"]["p50"] < 500
        assert report["false_alarms_per_100k"] == 0.0
        assert report["clean"]["uploads"] == 3 * 500
        assert report["families"][UNSEEN_FAMILIES[1]]["counted"] is False
        assert not breaches(report, 2000)

    def test_a_known_family_gets_worlds_without_it(self):
        chosen = run.planned([TRAINED_FAMILIES[2], NEW], streams=2, runs=3, seed=1)
        assert [trial.clean for trial in chosen] == [True, True, False, False, False, False]
        assert [trial.families for trial in chosen] == [(NEW,)] * 3 + [(TRAINED_FAMILIES[2],)] * 3
        assert [trial.left_out for trial in chosen] == [None] * 3 + [TRAINED_FAMILIES[2]] * 3
        assert len({trial.seed for trial in chosen}) == 6

    def test_processes_change_nothing(self, path):
        chosen = [Trial(seed, None, True, (NEW,)) for seed in (1, 2)]
        one, two = (
            list(run.outcomes(path, PLAN, chosen, processes=processes, advance=lambda step: None))
            for processes in (1, 2)
        )
        assert one == two


class TestFigures:
    def test_what_was_never_alarmed_has_no_delay(self):
        told = [Outcome(NEW, 5, 0, 0, 0, delay) for delay in (100, 300, None)]
        report = figures([Outcome(None, 11, 1, 2, 0), *told], PLAN, [NEW], seed=0)
        assert report["false_alarms_per_100k"] == pytest.approx(2 / 1000 * 100_000)
        assert report["detected_within_2000"] == pytest.approx(2 / 3)
        assert (report["delay"]["p50"], report["delay"]["p90"]) == (300.0, None)
        assert [broken.split()[0] for broken in breaches(report, 2000)] == ["200.00", "67%"]
        json.dumps(report, allow_nan=False)

    @pytest.mark.parametrize(("count", "low", "high"), [(0, 0.0, 3.689), (1, 0.0253, 5.572), (10, 4.795, 18.39)])
    def test_the_interval_of_a_count_is_garwood_s(self, count, low, high):
        assert poisson(count) == pytest.approx((low, high), rel=1e-3)

    def test_nothing_measured_holds_no_limit(self):
        report = figures([], PLAN, [NEW], seed=0)
        assert len(breaches(report, 2000)) == 2
        assert math.isclose(report["runs"], 0)


class TestPool:
    def test_pictures_are_embedded_once(self, tmp_path):
        plan, bundle = PoolPlan(photographs=2, per_trained=0, per_unseen=1, seed=0), Bundle.default()
        seen: list[int] = []
        path = pool.prepared(tmp_path, bundle, plan, processes=1, advance=seen.append)
        found = pool.load(path)
        assert found.vectors.shape == (2 + len(UNSEEN_FAMILIES), SHOTS, 64)
        assert found.families.tolist() == [CAMERA, CAMERA, *UNSEEN_FAMILIES]
        assert (found.vectors[:, 0] != found.vectors[:, 1]).any()
        assert pool.prepared(tmp_path, bundle, plan, processes=1, advance=seen.append) == path
        assert sum(seen) == SHOTS * len(found.families)

    def test_a_broken_file_is_told(self, tmp_path):
        (tmp_path / "pool.npz").write_bytes(b"PK")
        with pytest.raises(ConfigurationError, match="cannot be read"):
            pool.load(tmp_path / "pool.npz")


class TestCommand:
    @pytest.mark.parametrize(("apart", "code"), [(5.0, 0), (0.0, 1)])
    def test_exit_code_and_figures(self, tmp_path, monkeypatch, capsys, apart, code):
        made = kept(tmp_path, apart=apart)
        monkeypatch.setattr(pool, "prepared", lambda *_, **__: made)
        arguments = ["--family", NEW, "--window", "100", "--calibration", "500", "--clean", "600", "--streams", "2",
                     "--runs", "2", "--repetitions", "200", "--share", "0.3", "--processes", "1"]  # fmt: skip
        assert main(["bench", "drift", *arguments, "--json", "-"]) == code
        report = json.loads(capsys.readouterr().out)
        assert report["ok"] is (code == 0)
        assert set(report["delay"]) == {"p50", "p50_ci95", "p90", "p90_ci95"}
        assert main(["bench", "drift", *arguments]) == code
        assert NEW in capsys.readouterr().out

    def test_an_unknown_family_is_refused(self, capsys):
        assert main(["bench", "drift", "--family", "dream"]) == 2
        assert "no family 'dream'" in capsys.readouterr().err

    def test_too_few_pictures_are_refused(self, capsys):
        assert main(["bench", "drift", "--photographs", "3000"]) == 2
        assert "Give at least 5500" in capsys.readouterr().err
