from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the train extra")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import OneCycleLR

from models.evaluation.pictures import Item
from models.recipes.fields import Delivery, Shifts
from models.training import split
from models.training.augmentation import augmentation
from models.training.batches import Batches
from models.training.checkpoints import Checkpoints
from models.training.schedule import one_cycle
from models.training.scoring import Average
from models.training.store import Store
from stream.errors import ConfigurationError, ModelError
from tests.models.training import tiny


def weights(net: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def test_a_batch_in_parts_trains_as_a_whole_one(tmp_path: Path) -> None:
    whole = tiny.run(tiny.recipe(steps=6, batch_norm="frozen"), tmp_path)
    parts = tiny.run(tiny.recipe(steps=6, batch_norm="frozen", accumulation=4), tmp_path)
    start = weights(tiny.state(tiny.recipe()).net)
    for name, value in weights(parts.net).items():
        assert torch.allclose(value, whole.net.state_dict()[name], atol=1e-4)
    assert not torch.equal(start["head.weight"], whole.net.head.weight)


def test_a_frozen_trunk_stays_and_thaws_when_its_time_comes(tmp_path: Path) -> None:
    start = weights(tiny.state(tiny.recipe()).net)
    frozen = weights(tiny.run(tiny.recipe(steps=6, frozen=1.0), tmp_path).net)
    thawed = weights(tiny.run(tiny.recipe(steps=6, frozen=0.5, trunk_rate=1e-3), tmp_path).net)
    moved = {name for name in start if not torch.equal(start[name], frozen[name])}
    assert moved == {"head.weight", "head.bias"}
    assert any(name.startswith("backbone.") for name in start if not torch.equal(start[name], thawed[name]))


def test_frozen_norms_keep_their_statistics(tmp_path: Path) -> None:
    def statistics(net: torch.nn.Module) -> dict[str, torch.Tensor]:
        return {name: value for name, value in weights(net).items() if "running" in name}

    start = statistics(tiny.state(tiny.recipe()).net)
    frozen = statistics(tiny.run(tiny.recipe(steps=6, batch_norm="frozen"), tmp_path).net)
    moving = statistics(tiny.run(tiny.recipe(steps=6), tmp_path).net)
    assert all(torch.equal(start[name], frozen[name]) for name in start)
    assert not any(torch.equal(start[name], moving[name]) for name in start)


def test_patience_looks_at_the_worst_tier_and_the_best_weights_are_kept(tmp_path: Path) -> None:
    figures = iter(
        [{"clean": 0.6, "web": 0.6}, {"clean": 0.9, "web": 0.7}, {"clean": 1.0, "web": 0.65}] + 9 * [{"a": 0}]
    )
    plan = tiny.recipe(steps=24, validations=12, patience=2)
    ended = tiny.run(plan, tmp_path, validate=lambda net: next(figures))
    assert (ended.step, ended.best, ended.best_step, ended.ended) == (8, 0.7, 4, True)
    assert not torch.equal(ended.chosen["head.weight"], ended.average.net.head.weight)


def test_a_loss_that_is_no_number_ends_the_run_in_words(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no longer a number at step"):
        tiny.run(tiny.recipe(steps=6, rate=1e30, warm_up=0, gradient_clip=1e30), tmp_path)
    with pytest.raises(ModelError, match="validation is no number"):
        tiny.run(tiny.recipe(steps=6), tmp_path, validate=lambda net: {"clean": float("nan")})


@pytest.mark.parametrize("kind", [Delivery(), Shifts(pixels=2, group=4)])
@settings(deadline=None, max_examples=10)
@given(cuts=st.lists(st.integers(1, 15), max_size=3), step=st.integers(0, 1000))
def test_a_draw_depends_on_seed_step_and_place_only(kind: Delivery | Shifts, cuts: list[int], step: int) -> None:
    store, augment = Store(tiny.items(8)), augmentation(kind, size=16, seed=1)
    ends = sorted({0, 16, *cuts})
    whole = augment(store, range(16), step, 0)
    parts = [augment(store, range(a, b), step, a) for a, b in pairwise(ends)]
    assert whole.shape == (16, 16, 16, 3)
    assert np.array_equal(np.concatenate(parts), whole)


@settings(deadline=None, max_examples=10)
@given(step=st.integers(0, 7))
def test_processes_share_a_batch(step: int) -> None:
    plan = tiny.recipe(epochs=3, steps=None)
    found = tiny.items()
    labels = np.arange(len(found))
    augment = augmentation(plan.augmentation, size=16, seed=1)
    store = Store(found)
    whole = Batches(store, labels, np.ones(len(found)), plan, augment)
    assert whole.total == 9
    shares = [Batches(store, labels, np.ones(len(found)), plan, augment, rank=rank, count=2) for rank in (0, 1)]
    (expected,) = whole.at(step)
    parts = [part for share in shares for part in share.at(step)]
    assert np.array_equal(np.concatenate([part.labels for part in parts]), expected.labels)
    assert np.array_equal(np.concatenate([part.crops for part in parts]), expected.crops)


def test_an_epoch_shows_every_picture_once_and_batches_come_in_order() -> None:
    plan = tiny.recipe(epochs=2, steps=None)
    found = tiny.items()
    made = Batches(
        Store(found), np.arange(24), np.ones(24), plan, augmentation(plan.augmentation, size=16, seed=1)
    )  # fmt: skip
    seen = [parts[0].labels for parts in made.following(0, 2)]
    assert [set(np.concatenate(seen[start : start + 3])) for start in (0, 3)] == [set(range(24))] * 2
    assert not np.array_equal(seen[0], seen[3])
    later = [parts[0].labels for parts in made.following(4, 2)]
    assert all(np.array_equal(one, other) for one, other in zip(later, seen[4:], strict=True))


def test_a_batch_that_cannot_be_filled_or_dealt_out_is_refused() -> None:
    store, ones = Store(tiny.items(3)), np.ones(6)
    augment = augmentation(Delivery(), size=16, seed=1)
    with pytest.raises(ConfigurationError, match="do not fill a batch of 8"):
        Batches(store, ones.astype(int), ones, tiny.recipe(), augment)
    with pytest.raises(ConfigurationError, match="cannot be dealt out to 3 processes"):
        Batches(store, ones.astype(int), ones, tiny.recipe(batch=4), augment, count=3)


def test_rates_are_those_of_the_published_schedule() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    reference = torch.optim.AdamW([parameter], 1.0)
    schedule = OneCycleLR(reference, 1.0, total_steps=40, pct_start=0.25, final_div_factor=1e3)
    for step in range(40):
        rate, momentum = one_cycle(step, 40, 0.25)
        assert rate == pytest.approx(reference.param_groups[0]["lr"], rel=1e-6)
        assert momentum == pytest.approx(reference.param_groups[0]["betas"][0], rel=1e-6)
        reference.step()
        if step < 39:
            schedule.step()


def test_the_average_takes_in_statistics_too() -> None:
    net = tiny.state(tiny.recipe()).net
    average = Average(net, 0.9)
    with torch.no_grad():
        for value in net.state_dict().values():
            value.add_(1)
    before = weights(average.net)
    average.update(net, 1000)
    for name, value in average.net.state_dict().items():
        if value.is_floating_point():
            assert torch.allclose(value, before[name] + 0.1, atol=1e-5)


def test_a_state_comes_back_whole(tmp_path: Path) -> None:
    plan = tiny.recipe(steps=6)
    ended = tiny.run(plan, tmp_path / "run")
    kept = Checkpoints(tmp_path / "kept", "run")
    kept.write(ended.arrays(), ended.facts())
    again = tiny.state(plan)
    again.restore(*kept.read())
    assert again.facts() == ended.facts()
    arrays = again.arrays()
    assert arrays.keys() == ended.arrays().keys()
    assert all(np.array_equal(value, arrays[name]) for name, value in ended.arrays().items())


def test_checkpoints_are_refused_in_words(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, "mine")
    with pytest.raises(ConfigurationError, match="no checkpoint to go on from"):
        kept.read()
    kept.write({"a": np.ones(3)}, {"step": 1})
    with pytest.raises(ConfigurationError, match="another recipe"):
        Checkpoints(tmp_path, "yours").read()
    with pytest.raises(ConfigurationError, match="already"):
        kept.refuse_old()
    kept.path.write_bytes(kept.path.read_bytes()[:100])
    with pytest.raises(ConfigurationError, match="cannot be read"):
        kept.read()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.npz"]


def test_whole_groups_are_kept_and_too_few_pictures_are_refused() -> None:
    labels, groups = np.arange(400) % 2, np.array([f"stem:{number // 4}" for number in range(400)])
    kept = split.validation(labels, groups, 0.4, seed=1)
    assert all(len(set(kept[start : start + 4])) == 1 for start in range(0, 400, 4))
    assert 0.2 < kept.mean() < 0.6
    with pytest.raises(ConfigurationError, match="0 fake pictures are left for training"):
        split.validation(np.zeros(400, np.int64), groups, 0.4, seed=1)


def test_a_broken_picture_is_named() -> None:
    broken = [Item(tiny.picture(0, machine_made=False)[:200], 0, "real/one", "half.jpg", {})]
    with pytest.raises(ConfigurationError, match=r"real/one/half\.jpg"):
        Store(broken)


def test_pictures_beyond_what_is_kept_are_decoded_again() -> None:
    found = tiny.items(2)
    kept, none = Store(found), Store(found, kept_bytes=0)
    assert all(np.array_equal(kept[number], none[number]) for number in range(4))
