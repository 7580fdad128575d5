import pytest

from tests.compose.snapshots import snapshot
from tests.compose.stories import view
from tests.compose.test_dashboard import drawn

SIZES = [(80, 24), (100, 30), (120, 40), (200, 50)]


def text(width, height, until_s=240.0, **more):
    return "\n".join(drawn(snapshot(loop=view(until_s, **more)), width, height))


@pytest.mark.parametrize(("width", "height"), SIZES)
class TestEverySize:
    @pytest.mark.parametrize("until_s", [0, 40, 78, 130, 240])
    def test_it_fills_the_terminal_and_no_more(self, width, height, until_s):
        lines = drawn(snapshot(loop=view(until_s)), width, height)
        assert len(lines) == height
        assert max(map(len, lines)) <= width

    @pytest.mark.parametrize(
        "said",
        [
            "promoted", "02:30", "cc33dd44", "champion", "accuracy on grain", "33.6%", "95.1%", "n=225", "● ok",
            "4,233", "p99", "camera", "Ctrl-C",
        ],
    )  # fmt: skip
    def test_the_end_says(self, width, height, said):
        assert said in text(width, height)

    def test_a_calm_beginning(self, width, height):
        shown = text(width, height, 10)
        assert "nothing has happened yet" in shown
        assert "no window of" in shown
        assert "accuracy on grain" in shown

    def test_a_refusal_is_told_in_the_gates_words(self, width, height):
        shown = text(width, height, 110, refused=True)
        assert "refused" in shown
        assert "false-positive" in shown


@pytest.mark.parametrize(("width", "height"), [(100, 30), (120, 40), (200, 50)])
class TestWithRoom:
    def test_the_canarys_share_is_taken_from_the_champion(self, width, height):
        shown = text(width, height, 130)
        assert " 80%" in shown
        assert " 20%" in shown

    def test_components_beyond_their_thresholds(self, width, height):
        shown = text(width, height, 78)
        assert "● alarm" in shown
        assert "component 1" in shown
        assert "5 judged, 1 alarms" in shown

    def test_the_loops_processes(self, width, height):
        shown = text(width, height)
        assert "● worker" in shown
        assert "● drift" in shown


def test_everything_fits_where_the_documents_picture_is_taken():
    shown = text(120, 40)
    assert "slice accuracy 0.64 → 0.962" in shown
    for said in ("entered", "warning", "alarm", "dataset built", "evaluated", "serving", "● retrain", "labels 40"):
        assert said in shown


def test_the_last_verdicts_come_back_where_there_is_room():
    assert "Last verdicts" not in text(120, 40)
    assert "Last verdicts" in text(200, 50)


def test_a_session_without_the_loop_has_none_of_it():
    shown = "\n".join(drawn(snapshot(), 120, 40))
    assert "The loop" not in shown
    assert "Last verdicts" in shown
