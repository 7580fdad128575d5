"""The loop beside a session's worker: its processes, and the story that is read from its topics."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from compose import companions
from compose.companions import Companions
from compose.follower import LoopFollower
from compose.loop_view import LoopView
from compose.opened import Opened
from compose.story import Story
from compose.variables import environment
from stream.settings import Settings


class Loop(Opened):
    """Drift monitor, retraining coordinator and whoever follows them, for as long as the ``with`` block lasts.

    Args:
        settings: The session's; the port of the worker's own metrics is not passed on.
        story: Told what happens.
        folder: Where the processes' output goes.
    """

    def __init__(self, settings: Settings, story: Story, folder: Path) -> None:
        telemetry = settings.telemetry.model_copy(update={"metrics_port": 0})
        self.story = story
        variables = environment(settings.model_copy(update={"telemetry": telemetry}))
        self._companions = Companions(companions.COMMANDS, variables, folder)
        self._follower = LoopFollower(settings, story)

    def _open(self, stack: ExitStack) -> None:
        stack.callback(self._follower.close)
        stack.enter_context(self._companions)
        self._companions.start()

    def begin(self, champion: str) -> None:
        """Begins the story with this model as champion; returns once the processes are ready.

        Raises:
            VeristreamError: One of them did not come up.
        """
        self.story.begin(champion)
        self._follower.start()
        self._companions.wait_ready()

    def check(self) -> None:
        """Raises what ended a process or the following, if anything did."""
        self._follower.check()
        self._companions.check()

    def sample_memory(self) -> None:
        """Looks at the processes' memory."""
        self._companions.sample()

    def view(self) -> LoopView:
        """Where things stand, processes included."""
        return replace(self.story.view(), processes=self._companions.views())

    def report(self) -> dict[str, Any]:
        """What the processes took, and how many records of the loop's topics could not be read."""
        return {"processes": self._companions.report(), "unreadable_events": self._follower.unreadable}
