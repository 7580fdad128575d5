"""Which uploads a model on trial is given: a share of them, picked by a hash and not by a die.

Every worker, and whoever judges a trial afterwards, comes to the same answer for an upload without asking anybody, and
comes to it again after a restart. The model's digest salts the hash, so that each trial draws a sample of its own and
nobody's uploads are the ones that are always experimented on.
"""

import hashlib

_BITS = 53  # what a float holds exactly


def position(upload_id: str, salt: str) -> float:
    """Where an upload lies in [0, 1), uniformly over uploads: the first 53 bits of SHA-256 over salt and id.

    Args:
        upload_id: The upload.
        salt: What the draw is for: the digest of the model on trial.
    """
    found = hashlib.sha256(f"{salt}\0{upload_id}".encode()).digest()
    return (int.from_bytes(found[:8], "big") >> (64 - _BITS)) / (1 << _BITS)
