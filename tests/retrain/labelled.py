"""Pictures of a new place, uploaded, judged and labelled by five people."""

from retrain.ledger import Ledger
from tests.retrain import world
from tests.retrain.world import World

REVIEWERS = ("ann", "ben", "cem", "dora", "eve")


def labelled(site: World, ledger: Ledger, each: int, *, reviewers: tuple[str, ...] = REVIEWERS) -> None:
    """So many pictures of each class."""
    made = {}
    for seed, kind in enumerate(("fake2", "real2")):
        made |= {f"{kind}-{number}": data for number, data in enumerate(world.pictures(each, kind, seed))}
    site.upload({upload_id: site.claim(data) for upload_id, data in made.items()})
    ledger.add([world.verdict(upload_id, place=site.where[upload_id]) for upload_id in made])
    ledger.add(
        labels=[
            world.label(
                upload_id, "ai_generated" if upload_id.startswith("fake") else "authentic",
                reviewers[number % len(reviewers)],
            )
            for number, upload_id in enumerate(made)
        ]
    )  # fmt: skip
