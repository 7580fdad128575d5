import io
import json
from functools import partial

import numpy as np
import pytest
from PIL import Image

from models.bundle import Bundle
from models.dataset.checking import check
from models.dataset.listing import pack, unpack
from models.dataset.policy import Policy
from models.evaluation.pictures import index
from models.manifest import DATA
from models.training import variants
from stream.errors import ConfigurationError
from tests.models.dataset.made import encoded, files, image
from tests.models.evaluation.collections import folder, zipped
from tests.models.tiny import tiny_files, tiny_manifest

LENIENT = Policy(unreadable=1, tiny=1, duplicates=1, conflicts=1, smaller_class=0, leak=1)


def checked(path, content, policy=LENIENT, **options):
    return check(index([zipped(path / "data.zip", content)]), policy, **options)


def rows(dataset):
    return {row["path"]: row for row in map(json.loads, dataset.rows.splitlines())}


def test_a_clean_set_is_kept_whole_and_in_order(tmp_path):
    content = files()
    dataset = checked(tmp_path, content, Policy())
    dataset.refuse()
    assert [item.data for item in dataset.items()] == list(content.values())
    items = list(dataset.items())
    assert dataset.labels.tolist() == [item.label for item in items]
    assert dataset.sources.tolist() == [item.source for item in items]
    assert (dataset.report.found, dataset.report.kept, dataset.report.dropped) == (48, 48, {})


def test_what_is_left_out_and_what_it_repeats(tmp_path):
    content = files()
    first, other = content["real/one/00.jpg"], content["fake/one/00.jpg"]
    content |= {
        "real/two/copy.jpg": first,
        "real/two/again.jpg": encoded(image(2001), quality=50),
        "fake/one/larger.png": encoded(image(2).resize((96, 96)), "PNG"),
        "real/two/contrary.jpg": other,
        "fake/two/nearly.webp": encoded(image(3005, 40), "WEBP"),
        "real/one/small.jpg": encoded(image(90, 31)),
        "real/one/cut.jpg": first[:200],
        "fake/one/words.png": b"no picture",
    }
    dataset = checked(tmp_path, content)
    found = rows(dataset)
    left = {path: (row["dropped"], row.get("of")) for path, row in found.items() if "dropped" in row}
    sha = {path: row["sha256"] for path, row in found.items()}
    assert left == {
        "real/two/copy.jpg": ("duplicate", sha["real/one/00.jpg"]),
        "real/two/again.jpg": ("near_duplicate", sha["real/one/01.jpg"]),
        "fake/one/02.jpg": ("near_duplicate", sha["fake/one/larger.png"]),
        "real/two/contrary.jpg": ("conflict", sha["fake/one/00.jpg"]),
        "fake/one/00.jpg": ("conflict", sha["real/two/contrary.jpg"]),
        "fake/two/nearly.webp": ("conflict", sha["real/two/05.jpg"]),
        "real/two/05.jpg": ("conflict", sha["fake/two/nearly.webp"]),
        "real/one/small.jpg": ("tiny", None),
        "real/one/cut.jpg": ("unreadable", None),
        "fake/one/words.png": ("unreadable", None),
    }
    assert "NotAnImage" in found["fake/one/words.png"]["fault"]
    assert dataset.report.kept == len(list(dataset.items())) == len(content) - len(left)


def test_flat_pictures_are_told_apart_by_their_bytes_only(tmp_path):
    greys = {
        f"{label}/plain/{level}.png": encoded(Image.new("RGB", (48, 48), (level,) * 3), "PNG")
        for label, levels in (("real", (10, 11)), ("fake", (12, 13)))
        for level in levels
    }
    assert checked(tmp_path, greys).report.dropped == {}


def test_a_photograph_and_its_declared_twin_are_no_conflict_and_one_group(tmp_path):
    table = (
        "file,stem,twin_of\nreal/walks/1.jpg,1,\nfake/walks-decoder/1.jpg,1,walks\nfake/walks-decoder/2.jpg,2,walks\n"
    )
    content = files() | {
        "real/walks/1.jpg": encoded(image(5000)),
        "fake/walks-decoder/1.jpg": encoded(image(5000), quality=60),
        "fake/walks-decoder/2.jpg": encoded(image(5000), quality=61),
        "metadata.csv": table.encode(),
    }
    dataset = checked(tmp_path, content)
    assert dataset.report.dropped == {"conflict": 3}  # the second one says that it is of another photograph
    del content["fake/walks-decoder/2.jpg"]
    dataset = checked(tmp_path, content)
    assert dataset.report.dropped == {}
    assert len(dataset.groups) == len(set(dataset.groups.tolist())) + 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({f"real/one/x{n}.jpg": b"no" for n in range(5)}, "cannot be decoded, more than 5%"),
        ({f"real/one/x{n}.jpg": encoded(image(n, 16)) for n in range(20)}, "are too small, more than 20%"),
        ({f"real/one/x{n}.jpg": encoded(image(77)) for n in range(60)}, "repeat another one, more than 50%"),
        ({"real/one/x.jpg": files()["fake/one/00.jpg"]}, "are there under both labels, more than 2%"),
        ({f"real/three/{n}.jpg": encoded(image(9000 + n)) for n in range(200)}, "are ai_generated, less than 10%"),
    ],
)
def test_a_share_over_its_limit_refuses_with_what_to_do(tmp_path, more, said):
    dataset = checked(tmp_path, files() | more)
    dataset.refuse()
    with pytest.raises(ConfigurationError, match=said) as refused:
        checked(tmp_path, files() | more, Policy()).refuse()
    assert refused.value.where == "data.zip"
    assert refused.value.remedy


def test_a_class_of_which_nothing_is_usable_refuses_whatever_the_policy(tmp_path):
    content = {path: data if path.startswith("real") else b"no" for path, data in files().items()}
    with pytest.raises(ConfigurationError, match="No usable picture is ai_generated"):
        checked(tmp_path, content).refuse()


def leaking(kind="JPEG", quality=90, side=48):
    """Fakes that differ from the reals in one thing about the file."""
    return {
        path: encoded(image(number, side), kind, quality) if path.startswith("fake") else data
        for number, (path, data) in enumerate(files(20).items())
    }


@pytest.mark.parametrize(
    ("changes", "trait"), [({"kind": "PNG"}, "format"), ({"quality": 60}, "quality"), ({"side": 64}, "width")]
)
def test_a_leak_refuses_and_is_named(tmp_path, changes, trait):
    with pytest.raises(ConfigurationError, match=f"alone tell the classes apart .found.*{trait} tells most"):
        checked(tmp_path, leaking(**changes), Policy()).refuse()


@pytest.mark.parametrize("changes", [{"kind": "PNG"}, {"quality": 60}])
def test_a_leak_that_training_removes_is_reported_and_passes(tmp_path, changes):
    dataset = checked(tmp_path, leaking(**changes), Policy(), delivered=partial(variants.encoded, size=32))
    dataset.refuse()
    assert dataset.report.probes["found"].outcome == "leak"
    assert any("(found)" in warning for warning in dataset.report.warnings)


def test_a_leak_that_survives_training_refuses(tmp_path):
    with pytest.raises(ConfigurationError, match=r"\(delivered\)"):
        checked(tmp_path, leaking(side=200), Policy(), delivered=partial(variants.encoded, size=32)).refuse()


def test_the_probe_sees_the_file_that_training_cuts_from():
    data = encoded(image(3, 64))
    with Image.open(io.BytesIO(variants.encoded(data, 5, size=32))) as seen:
        assert seen.format in {"JPEG", "WEBP"}
        whole = np.asarray(seen.convert("RGB"))
    (crop,) = variants.crops(data, 1, 32, 5)
    windows = np.lib.stride_tricks.sliding_window_view(whole, (32, 32, 3)).reshape(-1, 32, 32, 3)
    assert (windows == crop).all((1, 2, 3)).any()


def test_equal_data_give_equal_bytes_and_a_parent_is_named(tmp_path):
    content = files() | {"real/one/x.jpg": files()["real/one/00.jpg"]}
    first = checked(tmp_path, content)
    loose = check(index([folder(tmp_path / "b" / "data.zip", content)]), LENIENT)
    assert first.manifest.to_bytes() == loose.manifest.to_bytes()
    assert pack(first.manifest, first.rows) == pack(loose.manifest, loose.rows)
    grown = check(index([tmp_path / "data.zip"]), LENIENT, parent=first.manifest)
    assert grown.manifest.parent == first.manifest.digest != grown.manifest.digest
    del content["real/one/03.jpg"]
    assert checked(tmp_path, content).manifest.sha256 != first.manifest.sha256


def test_the_manifest_stays_small_states_licences_and_travels_in_a_bundle(tmp_path):
    few, many = files(3), files(40)
    table = b"file,licence\nreal/one/00.jpg,CC0\n"
    sizes = [len(checked(tmp_path, content | {"metadata.csv": table}).manifest.to_bytes()) for content in (few, many)]
    assert sizes[1] - sizes[0] < 100
    dataset = checked(tmp_path, few | {"metadata.csv": table})
    (source,) = [one for one in dataset.manifest.sources if one.name == "real/one"]
    assert source.licences == {"CC0": 1, "": 2}
    bundle = Bundle.build(tiny_manifest(), tiny_files() | {DATA: dataset.manifest.to_bytes()})
    assert bundle.files[DATA] == dataset.manifest.to_bytes()


def test_two_collections_of_one_name_are_refused(tmp_path):
    (tmp_path / "more").mkdir()
    paths = [zipped(place / "data.zip", files(3)) for place in (tmp_path, tmp_path / "more")]
    with pytest.raises(ConfigurationError, match=r"Two collections are called data\.zip"):
        check(index(paths), LENIENT)


@pytest.mark.data
def test_the_pools_pass_as_training_degrades_them(data_dir, tmp_path):
    paths = [data_dir / f"{name}.zip" for name in ("photos-more", "art-train")]
    policy = Policy(probe_pictures=600)
    dataset = check(index(paths), policy, delivered=partial(variants.encoded, size=128))
    dataset.refuse()
    assert dataset.report.probes["original"].outcome == "leak"
    assert dataset.manifest.sources[0].licences.keys() != {""}
    path = tmp_path / "list.gz"
    path.write_bytes(pack(dataset.manifest, dataset.rows))
    assert unpack(path)[0] == dataset.manifest
