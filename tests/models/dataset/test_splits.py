import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.dataset.splits import draw, group, held_out
from models.evaluation.pictures import Item

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
