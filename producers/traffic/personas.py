"""Who posts: personas with their accounts, what they lean to, and how often they post the same thing again."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Literal

from stream.events import TruthName

Repeat = Literal["fresh", "again", "copy"]
"""`fresh` is a new picture, `again` the same picture cropped and encoded anew, `copy` the very same bytes."""


@dataclass(frozen=True, slots=True)
class Persona:
    """A kind of account.

    Attributes:
        about: In words.
        accounts: How many such accounts post.
        machine_made: Share of its posts that are machine-made where half of all posts are; it decides who posts a
            picture of a given label, and never how many of each label there are.
        repeat: Probability that a post repeats the last picture of its label; runs are geometric, mean 1/(1 − repeat).
        copy: Of the repeats, the share that are the same bytes; the rest are near-duplicates.
        coordinated: Repeats come from another account each time rather than from the same one.
        loyal: Every account sticks to one family of machine-made pictures.
    """

    about: str
    accounts: int
    machine_made: float
    repeat: float
    copy: float
    coordinated: bool = False
    loyal: bool = False


PERSONAS: Mapping[str, Persona] = {
    "casual": Persona("Many accounts, a picture now and then, the odd double tap", 5000, 0.45, 0.03, 0.7),
    "prolific": Persona("Few accounts that post all day and repost a little", 40, 0.45, 0.05, 0.4),
    "hobbyist": Persona("Posts machine-made art of one favourite family", 200, 0.95, 0.08, 0.1, loyal=True),
    "spam": Persona("A bot that posts one picture dozens of times, changed a little each time", 12, 0.6, 0.95, 0.1),
    "misinformation": Persona(
        "A campaign: many accounts spread the same few machine-made pictures", 60, 0.97, 0.9, 0.5, coordinated=True
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Post:
    """One decision to post.

    Attributes:
        persona: Key of `PERSONAS`.
        uploader: Opaque account id, which tells nothing about the persona.
        repeat: What of.
        taste: The account's place within [0, 1), by which a loyal account picks its family; None for the others.
    """

    persona: str
    uploader: str
    repeat: Repeat
    taste: float | None


class Crowd:
    """All accounts of a run; remembers who posted last, so that repeats come from whom they should.

    Args:
        random: Where every choice is drawn from.
        seed: Goes into the account ids, so that two runs do not share accounts unless they share a seed.
    """

    def __init__(self, random: Random, seed: int) -> None:
        self._random = random
        self._seed = seed
        self._last: dict[tuple[str, TruthName], int] = {}

    def post(self, label: TruthName, weights: Mapping[str, float]) -> Post:
        """Decides who posts the next picture of a label and whether it is a new one.

        Who: P(persona | label) ∝ weight · P(label | persona), so the phase's mix of labels holds whoever posts.
        """
        names = list(weights)
        likely = [weights[name] * _leaning(PERSONAS[name], label) for name in names]
        name = self._random.choices(names, likely)[0]
        persona = PERSONAS[name]
        last = self._last.get((name, label))
        repeat: Repeat = "fresh"
        if last is not None and self._random.random() < persona.repeat:
            repeat = "copy" if self._random.random() < persona.copy else "again"
        if last is None or repeat == "fresh" or persona.coordinated:
            last = self._random.randrange(persona.accounts)
        self._last[name, label] = last
        return Post(name, self._account(name, last), repeat, (last + 0.5) / persona.accounts if persona.loyal else None)

    def _account(self, persona: str, number: int) -> str:
        return f"u-{blake2b(f'{self._seed}/{persona}/{number}'.encode(), digest_size=6).hexdigest()}"


def _leaning(persona: Persona, label: TruthName) -> float:
    return persona.machine_made if label == "ai_generated" else 1.0 - persona.machine_made
