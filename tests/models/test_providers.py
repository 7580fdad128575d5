import pytest

from models.providers import CPU, open_session
from stream.errors import BundleInvalid, ProviderUnavailable
from tests.models.tiny import tiny_graph

MODEL = tiny_graph().SerializeToString()


def test_the_cpu_is_always_to_be_had():
    assert open_session(MODEL, wish="cpu", threads=2).get_providers() == [CPU]


def test_sessions_do_not_spin():
    options = open_session(MODEL, wish="cpu", threads=2).get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.intra_op_num_threads == 2


@pytest.mark.parametrize("wish", ["cuda", "tensorrt", "openvino"])
def test_an_explicit_wish_is_granted_or_refused_but_never_swapped(wish, capfd):
    try:
        session = open_session(MODEL, wish=wish)
    except ProviderUnavailable as error:
        outcome = error.what
    else:
        outcome = session.get_providers()[0].lower()
    assert wish in outcome
    assert capfd.readouterr() == ("", "")


def test_auto_falls_back_quietly(capfd):
    assert open_session(MODEL, wish="auto").get_providers()[-1] == CPU
    assert capfd.readouterr() == ("", "")


def test_a_provider_that_this_build_lacks_is_named(monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [CPU])
    with pytest.raises(ProviderUnavailable, match=r"cuda was asked for .* this build"):
        open_session(MODEL, wish="cuda")
    assert open_session(MODEL, wish="auto").get_providers() == [CPU]


@pytest.mark.parametrize("wish", ["cpu", "auto"])
def test_a_model_that_cannot_be_opened_is_the_bundles_fault(wish):
    with pytest.raises(BundleInvalid, match="refuses the model"):
        open_session(b"\x08\x01nonsense", wish=wish)
