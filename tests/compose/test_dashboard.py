import io

import pytest
from rich.console import Console

from compose.dashboard import Dashboard
from compose.picture import save_svg
from compose.share import Share
from compose.snapshot import WorkerLine
from stream.errors import ConfigurationError
from tests.compose.snapshots import snapshot

SIZES = [(80, 24), (120, 40), (200, 50)]


def drawn(shown, width, height):
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(Dashboard(shown))
    return console.file.getvalue().rstrip("\n").split("\n")


@pytest.mark.parametrize(("width", "height"), SIZES)
class TestEverySize:
    def test_it_fills_the_terminal_and_no_more(self, width, height):
        lines = drawn(snapshot(), width, height)
        assert len(lines) == height
        assert max(map(len, lines)) <= width

    @pytest.mark.parametrize(
        "said",
        [
            "simulated scenes, not real photographs",
            "steady",
            "01:23",
            "4,233",
            "4,221",
            "in flight 12",
            "dead letters 3",
            "93.1%",
            "2.1%",
            "88.0%",
            "n=4,001",
            "p50",
            "p99",
            "92 ms",
            "deconvolution",
            "camera",
            "● ready",
            "CPU",
            "312 MiB",
            "first",
            "340",
            "AI-generated",
            "uncertain",
            "0.97",
            "✓",
            "✗",
            "not known",
            "Ctrl-C",
            "broker in memory",
        ],
    )
    def test_it_says(self, width, height, said):
        assert said in "\n".join(drawn(snapshot(), width, height))

    def test_a_session_that_has_just_begun(self, width, height):
        nothing = Share(None, None, None, 0)
        begun = snapshot(
            uploads=0,
            verdicts=0,
            uploads_per_s=(),
            verdicts_per_s=(),
            median_ms=(),
            latency=None,
            accuracy=nothing,
            fpr=nothing,
            coverage=nothing,
            families=(),
            recent=(),
            worker=WorkerLine(),
        )
        lines = drawn(begun, width, height)
        assert len(lines) == height
        assert "waiting for the first" in "\n".join(lines)
        assert "no process" in "\n".join(lines)


def test_the_interval_has_decimals_where_there_is_room():
    assert "92–94" in "\n".join(drawn(snapshot(), 80, 24))
    assert "91.8–94.3" in "\n".join(drawn(snapshot(), 120, 40))


def test_numbers_of_a_long_run_stay_inside_the_narrowest_panel():
    lines = drawn(snapshot(uploads=1_234_567, verdicts=934_567), 80, 24)
    assert "sent 1.2M" in "\n".join(lines)
    assert "done 935k" in "\n".join(lines)


def test_restarts_are_told():
    worker = WorkerLine("restarting", 99, 2, "CPUExecutionProvider", None, (), None, None)
    text = "\n".join(drawn(snapshot(worker=worker), 120, 40))
    assert "● restarting" in text
    assert "2 restarts" in text


class TestPicture:
    def test_an_svg_that_fetches_nothing(self, tmp_path):
        path = tmp_path / "dashboard.svg"
        save_svg(snapshot(), path)
        svg = path.read_text()
        assert "VERISTREAM" in svg
        assert "@font-face" not in svg
        assert "url(http" not in svg

    def test_a_folder_that_is_not_there(self, tmp_path):
        with pytest.raises(ConfigurationError, match="cannot be written"):
            save_svg(snapshot(), tmp_path / "absent" / "dashboard.svg")
