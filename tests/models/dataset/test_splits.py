import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.dataset.splits import draw, group, held_out, rotation
from models.evaluation.pictures import Item
from stream.errors import ConfigurationError

GROUPS = st.lists(st.sampled_from([f"stem:{letter}" for letter in "abcdefghij"]), min_size=1, max_size=60)


@given(GROUPS, st.floats(0, 1), st.integers(0, 9))
def test_a_group_is_never_parted(groups, share, seed):
    out = held_out(np.array(groups), share, seed=seed)
    sides = {(name, bool(side)) for name, side in zip(groups, out, strict=True)}
    assert len(sides) == len(set(groups))


@given(GROUPS, GROUPS)
def test_a_picture_stays_where_it_is_when_others_come(groups, more):
    alone = draw(np.array(groups), 1)
    assert draw(np.array([*groups, *more]), 1)[: len(groups)].tolist() == alone.tolist()


def test_about_the_share_is_held_out_and_seeds_differ():
    names = np.array([f"stem:{number}" for number in range(4000)])
    first, second = (held_out(names, 0.2, seed=seed) for seed in (1, 2))
    assert abs(first.mean() - 0.2) < 0.03
    assert (first != second).any()


def item(source, data=b"x", **facts):
    return Item(data, int(source.startswith("fake")), source, "name", facts)


def test_twins_and_crops_of_one_photograph_are_one_group_and_numbers_of_two_sources_are_not():
    photograph = group(item("real/walks", stem="7"))
    assert group(item("real/walks", b"other crop", stem="7")) == photograph
    assert group(item("fake/walks-decoder", stem="7", twin_of="walks")) == photograph
    assert group(item("real/meals", stem="7")) != photograph
    assert group(item("real/walks")) == group(item("fake/other")) != group(item("real/walks", b"y"))


@st.composite
def sets(draw):
    fakes, reals = draw(st.integers(2, 5)), draw(st.integers(3, 6))
    names = [f"fake/{number}" for number in range(fakes)] + [f"real/{number}" for number in range(reals)]
    sources = np.array(names + draw(st.lists(st.sampled_from(names), max_size=40)))
    groups = np.array([f"stem:{draw(st.integers(0, 500))}" for _ in sources])
    return np.array([int(name.startswith("fake")) for name in sources]), sources, groups


@given(sets(), st.integers(0, 3))
def test_a_rotation_leaves_every_generator_out_once_with_two_sources_of_reals(made, seed):
    labels, sources, groups = made
    turns = list(rotation(labels, sources, groups, seed=seed))
    assert [turn.generator for turn in turns] == sorted({name for name in sources if name.startswith("fake")})
    for turn in turns:
        assert set(sources[turn.test]) == {turn.generator, *turn.reals}
        assert len(set(turn.reals)) == 2
        assert all(name.startswith("real") for name in turn.reals)
        assert not set(groups[turn.train]) & set(groups[turn.test])
        assert not set(sources[turn.train]) & set(sources[turn.test])
    times = [sum(name in turn.reals for turn in turns) for name in {n for n in sources if n.startswith("real")}]
    assert max(times) - min(times) <= 1


@pytest.mark.parametrize("names", [["fake/a", "real/a", "real/b", "real/c"], ["fake/a", "fake/b", "real/a", "real/b"]])
def test_without_sources_to_leave_out_a_rotation_is_refused(names):
    labels = np.array([int(name.startswith("fake")) for name in names])
    with pytest.raises(ConfigurationError, match="No source can be left out"):
        list(rotation(labels, np.array(names), np.array(names)))
