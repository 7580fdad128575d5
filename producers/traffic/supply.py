"""Opens a supply of pictures for traffic: the built-in scenes, or one's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from producers.sources import open_source
from producers.traffic.image_folder import ImageFolder
from producers.traffic.pictures import Pictures
from producers.traffic.scene_pictures import ScenePictures
from stream.settings import BlobSettings


@contextmanager
def open_pictures(images: Path | None, settings: BlobSettings) -> Iterator[Pictures]:
    """The pictures under ``images`` in ImageFolder layout, or without it the scenes, rendered first (about 6 s).

    Raises:
        ConfigurationError: There are no pictures under ``images``.
    """
    if images is None:
        with ScenePictures() as scenes:
            scenes.prepare()
            yield scenes
        return
    source = open_source(str(images), settings)
    try:
        yield ImageFolder(source)
    finally:
        source.close()
