"""Where the generator's pictures come from: the port, and a folder or zip of one's own pictures.

A *subject* is one picture before it is delivered. Shooting it gives bytes: cropped by a random few pixels and encoded
for a delivery tier. So two shots of one subject differ in pixels as well as bytes, as near-duplicates do, and a small
set of subjects gives as many different uploads as are wanted. They are still pictures of the same subjects: an
evaluation over N uploads of K subjects knows less than one over N subjects, and its intervals do not show that.
"""

from collections.abc import Mapping
from random import Random
from typing import NamedTuple, Protocol

from stream.events import TruthName


class Subject(NamedTuple):
    """One picture before delivery: its label, how it was made, and which of that family's pictures it is."""

    label: TruthName
    family: str
    number: int


class Pictures(Protocol):
    """A supply of pictures."""

    def families(self) -> Mapping[str, tuple[str, ...]]:
        """Families of machine-made pictures by the names that scenarios may use: each family's own, and groups."""
        ...

    def subject(self, label: TruthName, family: str | None, random: Random) -> Subject:
        """Draws a picture; ``family`` is None for photographs."""
        ...

    def shoot(self, subject: Subject, tier: str, random: Random) -> bytes:
        """Encodes it for a delivery tier, a little different every time."""
        ...
