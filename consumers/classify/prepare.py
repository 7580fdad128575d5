"""From bytes to crops: what the decoding pool does with each picture."""

import time

from consumers.classify.shadow import Shadow
from consumers.classify.slots import Turn
from consumers.classify.stages import Fetched, Prepared
from models.decode import DecodeLimits, decode
from stream.events import ImageFacts


def prepare(fetched: Fetched, turn: Turn, shadow: Shadow, limits: DecodeLimits) -> Prepared:
    """Opens a picture and cuts it for the models that are asked. The file and the full picture are let go.

    Raises:
        ImageError: The bytes are not a picture that may be opened.
    """
    begun = time.perf_counter()
    picture = decode(fetched.data, fetched.upload.media_type, limits)
    crops = turn.speaker.scorer.prepare(picture)
    decode_ms = (time.perf_counter() - begun) * 1000
    return Prepared(
        arrival=fetched.arrival,
        upload=fetched.upload,
        image=ImageFacts(
            sha256=fetched.sha256,
            media_type=picture.media_type,
            width=picture.width,
            height=picture.height,
            frames=picture.frames,
        ),
        crops=crops,
        model=turn.speaker,
        arm=turn.arm,
        fetch_ms=fetched.fetch_ms,
        decode_ms=decode_ms,
        sitting=shadow.seat(turn.shadow, picture, fetched.arrival.record.place) if turn.shadow else None,
    )
