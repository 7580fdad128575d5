from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from models.dataset.fingerprints import coefficients, flat, hashes, likeness, thumbnail
from models.dataset.neighbours import near
from tests.models.dataset.made import image
from tests.models.pictures import gradient

HASH = st.integers(0, 2**64 - 1)
FLIPS = st.lists(st.integers(0, 63), max_size=10)


@st.composite
def clusters(draw):
    """Hashes, some of them a few bits from others, some equal."""
    made = []
    for base in draw(st.lists(HASH, min_size=1, max_size=6)):
        made.append(base)
        for flips in draw(st.lists(FLIPS, max_size=4)):
            made.append(base ^ sum({1 << bit for bit in flips}))
    return draw(st.permutations(made))


def by_comparing_all(found, distance):
    return {
        (one, other)
        for one, other in combinations(range(len(found)), 2)
        if (found[one] ^ found[other]).bit_count() <= distance
    }


def families(pairs, count):
    ones = np.ones(len(pairs))
    graph = coo_array((ones, tuple(np.array(sorted(pairs), int).reshape(-1, 2).T)), shape=(count, count))
    number = connected_components(graph, directed=False)[1]
    return {tuple(np.flatnonzero(number == one)) for one in np.unique(number)}


@given(clusters(), st.integers(0, 8))
def test_the_search_finds_what_comparing_all_pairs_finds(made, distance):
    distinct = list(dict.fromkeys(made))
    pairs = near(np.array(distinct, np.uint64), distance)
    assert {tuple(pair) for pair in pairs.tolist()} == by_comparing_all(distinct, distance)


@given(clusters(), st.integers(0, 8))
def test_equal_hashes_are_connected_as_comparing_all_pairs_connects_them(made, distance):
    pairs = {tuple(pair) for pair in near(np.array(made, np.uint64), distance).tolist()}
    everything = by_comparing_all(made, distance)
    assert pairs <= everything
    assert families(pairs, len(made)) == families(everything, len(made))


def test_ten_thousand_equal_hashes_cost_ten_thousand_pairs():
    assert len(near(np.full(10_000, 7, np.uint64), 4)) == 9_999


def test_a_hash_survives_encoding_resizing_and_a_change_of_light():
    pictures = [image(seed) for seed in range(20)]
    changed = [image.point(lambda value: value * 0.7 + 20).resize((40, 40)) for image in pictures]
    spectra = coefficients(np.stack([thumbnail(np.asarray(picture)) for picture in [*pictures, *changed]]))
    pairs = near(hashes(spectra), 4)
    assert all(other == one + 20 for one, other in pairs.tolist())
    assert len(pairs) >= 18  # a sign whose coefficient is nearly nothing may turn round
    assert likeness(spectra, pairs).min() > 0.98
    assert not flat(spectra).any()


def test_a_flat_picture_is_known_to_be_flat():
    pixels = [np.full((40, 30, 3), 200, np.uint8), np.asarray(gradient())]
    assert flat(coefficients(np.stack([thumbnail(one) for one in pixels]))).tolist() == [True, False]
