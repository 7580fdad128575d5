import threading

import pytest

from retrain.background import Background
from stream.errors import JobInterrupted


def test_work_is_done_once_and_its_result_handed_over_once(eventually):
    background, go, begun = Background[int]("test"), threading.Event(), []

    def work() -> int:
        begun.append("again")
        go.wait()
        return 7

    assert not background.ask("job", work)
    assert not background.ask("job", work)
    go.set()
    eventually(lambda: background.ask("job", work))
    assert background.ask("job", work)
    assert (background.fetch(), begun) == (7, ["again"])
    with pytest.raises(RuntimeError):
        background.fetch()
    background.close()


def test_what_failed_may_be_asked_for_again(eventually):
    background, tries = Background[int]("test"), []

    def work() -> int:
        tries.append("once")
        if len(tries) == 1:
            raise JobInterrupted("the power went")
        return 3

    eventually(lambda: background.ask("job", work))
    with pytest.raises(JobInterrupted):
        background.fetch()
    eventually(lambda: background.ask("job", work))
    assert background.fetch() == 3
    background.close()
