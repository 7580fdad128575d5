from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.consumers.site import Site

MakeSite = Callable[..., Site]


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[MakeSite]:
    """``make_site(broker, **worker_settings)``: sites that are closed at the end."""
    sites: list[Site] = []

    def make(broker: Any, **given: Any) -> Site:
        sites.append(Site(broker, tmp_path, **given))
        return sites[-1]

    yield make
    for site in sites:
        site.close()


@pytest.fixture
def site(embedded_broker, make_site: MakeSite) -> Site:
    """A site on the embedded broker."""
    return make_site(embedded_broker)
