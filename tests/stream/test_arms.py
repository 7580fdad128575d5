import hashlib

from hypothesis import assume, given
from hypothesis import strategies as st

from stream.arms import position

DIGESTS = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
IDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=256)


def test_where_known_uploads_lie():
    # Written down, because a release that moved them would give a running trial another sample.
    assert position("up-1", "0" * 64) == 0.7546439204726023
    assert position("up-2", "0" * 64) == 0.5155880987378184
    assert position("up-1", "1" * 64) == 0.5744447828874366


@given(upload=IDS, salt=DIGESTS)
def test_a_position_is_stable_and_in_range(upload, salt):
    found = position(upload, salt)
    assert 0.0 <= found < 1.0
    assert position(upload, salt) == found


@given(salt=DIGESTS, prefix=st.text("abc-", max_size=8), share=st.floats(0.01, 0.99))
def test_a_share_of_the_uploads_is_met_whatever_their_ids(salt, prefix, share):
    uploads = 2000
    hit = sum(position(f"{prefix}{number}", salt) < share for number in range(uploads))
    # Six standard deviations: one in half a billion examples would fail by chance.
    assert abs(hit - uploads * share) <= 6 * (uploads * share * (1 - share)) ** 0.5


@given(salt=DIGESTS)
def test_positions_are_uniform(salt):
    found = sorted(position(str(number), salt) for number in range(1000))
    gap = max(max((n + 1) / 1000 - at, at - n / 1000) for n, at in enumerate(found))
    # Kolmogorov's statistic; 2.7 / sqrt(n) is exceeded by chance once in a million.
    assert gap < 2.7 / 1000**0.5


@given(first=DIGESTS, second=DIGESTS)
def test_trials_draw_apart(first, second):
    assume(first != second)
    both = sum(position(str(n), first) < 0.1 and position(str(n), second) < 0.1 for n in range(2000))
    # One in a hundred where they are drawn apart, one in ten where they are not.
    assert both <= 60


def test_it_is_sha_256():
    digest = hashlib.sha256(b"salt\0upload").digest()
    assert position("upload", "salt") == (int.from_bytes(digest[:8], "big") >> 11) / 2**53
