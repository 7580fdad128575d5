import pytest

from models.doubles import FixedClassifier
from tests.consumers.site import running
from tests.models.pictures import encoded, gradient
from tests.models.tiny import tiny_bundle, tiny_graph

PNG = encoded(gradient(), "PNG")


def store(site, bundle, name: str = "model.tar") -> str:
    path = site.blobs / name
    path.write_bytes(bundle.pack())
    return path.as_uri()


def serving(run, digest: str) -> bool:
    return run.worker.model.digest == digest


def test_a_swap_drops_no_upload(site, eventually):
    bundle = tiny_bundle()
    with running(site, FixedClassifier()) as run:
        site.send([site.upload(f"before-{number}", PNG) for number in range(50)])
        site.wait_answered(50)
        site.change_model(bundle.digest, store(site, bundle))
        sent = 50
        while not serving(run, bundle.digest):
            site.send([site.upload(f"during-{sent}", PNG)])
            sent += 1
        site.send([site.upload("after", PNG)])
        site.wait_answered(sent + 1)
        eventually(lambda: run.count("model_info", {"slot": "champion", **_labels(run)}) == 1)
    verdicts = {verdict.upload_id: verdict for verdict in site.verdicts()}
    assert len(verdicts) == len(site.verdicts()) == sent + 1
    assert verdicts["after"].model.digest == bundle.digest
    assert verdicts["after"].model.name == "tiny"
    assert verdicts["before-0"].model.digest == "0" * 64
    assert site.letters() == {}


def _labels(run) -> dict[str, str]:
    model = run.worker.model
    return {
        "name": model.name,
        "version": model.version,
        "digest": model.digest[:12],
        "provider": model.provider,
        "precision": model.precision,
    }


def test_a_worker_starts_with_the_champion_in_force(site):
    first, second = tiny_bundle(), tiny_bundle(tiny_graph(scale=1 / 128))
    site.change_model(first.digest, store(site, first, "first.tar"))
    site.change_model(second.digest, store(site, second, "second.tar"))
    site.change_model("f" * 64, "file:///nowhere", slot="shadow")
    with running(site, FixedClassifier()) as run:
        assert serving(run, second.digest)


@pytest.mark.parametrize(
    ("error", "spoil"),
    [
        ("BundleInvalid", lambda site, bundle: ("e" * 64, store(site, bundle))),
        ("BlobNotFound", lambda site, bundle: (bundle.digest, f"{site.blobs.as_uri()}/none.tar")),
        ("BlobForbidden", lambda site, bundle: (bundle.digest, "file:///etc/hostname")),
    ],
)
def test_a_bad_bundle_is_refused_and_the_old_model_stays(site, eventually, error, spoil):
    digest, uri = spoil(site, tiny_bundle())
    with running(site, FixedClassifier()) as run:
        site.change_model(digest, uri)
        eventually(lambda: run.count("model_refusals_total", {"error": error}) == 1)
        assert serving(run, "0" * 64)
        site.send([site.upload("up", PNG)])
        site.wait_answered(1)
    assert site.verdicts()[0].model.digest == "0" * 64


def test_a_model_that_fails_on_a_blank_picture_is_refused(site, eventually):
    broken = tiny_bundle(tiny_graph(scale=float("nan")))
    with running(site, FixedClassifier()) as run:
        site.change_model(broken.digest, store(site, broken))
        eventually(lambda: run.count("model_refusals_total", {"error": "BundleInvalid"}) == 1)
        assert serving(run, "0" * 64)


def test_an_emptied_slot_leaves_the_model_that_serves(site):
    bundle = tiny_bundle()
    site.change_model(bundle.digest, store(site, bundle))
    site.change_model(None, None)
    with running(site, FixedClassifier()) as run:
        assert serving(run, "0" * 64)
