"""Opens a supply of pictures for traffic: one's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from producers.sources import open_source
from producers.traffic.delivery import encode
from producers.traffic.image_folder import ImageFolder
from producers.traffic.pictures import Pictures
from stream.errors import ConfigurationError
from stream.settings import BlobSettings


@contextmanager
def open_pictures(images: Path | None, settings: BlobSettings) -> Iterator[Pictures]:
    """The pictures under ``images``, in ImageFolder layout.

    Raises:
        ConfigurationError: There are none.
    """
    if images is None:
        raise ConfigurationError("no pictures were named", remedy="Give --images a folder or zip with real/ and fake/")
    source = open_source(str(images), settings)
    try:
        yield ImageFolder(source, encode)
    finally:
        source.close()
