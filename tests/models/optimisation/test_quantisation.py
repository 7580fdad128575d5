import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.optimisation import graphs
from models.optimisation.halving import halve
from models.optimisation.quantisation import logits, quantise
from models.optimisation.ranges import METHODS
from stream.errors import BundleInvalid, ConfigurationError, InferenceFailed
from tests.models.optimisation.nets import CHANNELS, HEAD, crops, graph, tail
from tests.models.tiny import tiny_graph

FLOAT = graph().SerializeToString()


def kinds(model: bytes) -> dict[str, str]:
    """Type of the weight that each layer reads, by the layer's name: int8 or float32."""
    read = onnx.load_model_from_string(model)
    types = {tensor.name: TensorProto.DataType.Name(tensor.data_type) for tensor in read.graph.initializer}
    source = {node.output[0]: node.input[0] for node in read.graph.node if node.op_type == "DequantizeLinear"}
    layers = [node for node in read.graph.node if node.op_type in graphs.WEIGHTED]
    return {node.name.strip("/"): types[source.get(node.input[1], node.input[1])] for node in layers}


@pytest.mark.parametrize("method", METHODS)
def test_scores_stay_and_only_the_trunk_becomes_int8(method):
    made = quantise(FLOAT, [crops(24), crops(8, seed=3)], method=method)
    unseen = crops(50, seed=9)
    before, after = logits(FLOAT, [unseen]), logits(made, [unseen])
    assert np.sqrt(np.mean((after - before) ** 2)) < 0.05 * before.std()
    assert not np.array_equal(before, after)
    found = kinds(made)
    assert found["stem.conv"] == "FLOAT"
    assert found["wide.conv"] == found["deep.conv"] == "INT8"
    assert found["score"] == found["embedding"] == "FLOAT"
    assert set(HEAD) <= {tensor.name for tensor in onnx.load_model_from_string(made).graph.initializer}


@pytest.mark.parametrize(
    ("exclude", "floats"),
    [((), set()), (("depthwise",), {"deep.conv"}), (("first", "depthwise"), {"stem.conv", "deep.conv"})],
)
def test_layers_can_be_left_in_float(exclude, floats):
    found = kinds(quantise(FLOAT, [crops()], exclude=exclude))
    assert {name for name in ("stem.conv", "wide.conv", "deep.conv") if found[name] == "FLOAT"} == floats


def test_weights_have_a_scale_for_each_output_channel():
    made = onnx.load_model_from_string(quantise(FLOAT, [crops()]))
    sizes = {tensor.name: list(tensor.dims) for tensor in made.graph.initializer}
    assert sizes["wide.weight_scale"] == [16]


def test_weights_stored_as_halves_are_folded_and_quantised_alike():
    given = [crops()]
    halves, floats = quantise(graph(halves=True).SerializeToString(), given), quantise(FLOAT, given)
    unseen = [crops(20, seed=5)]
    np.testing.assert_allclose(logits(halves, unseen), logits(floats, unseen), atol=1e-6)


def test_the_same_model_and_crops_give_the_same_bytes():
    assert quantise(FLOAT, [crops()]) == quantise(FLOAT, [crops()])


def test_a_quantised_trunk_gets_its_head_afterwards():
    trunk = quantise(graph(head=False).SerializeToString(), [crops()])
    joined = graphs.join(trunk, tail().SerializeToString())
    unseen = [crops(20, seed=5)]
    np.testing.assert_allclose(logits(joined, unseen), logits(quantise(FLOAT, [crops()]), unseen), atol=1e-5)
    assert set(HEAD) <= {tensor.name for tensor in onnx.load_model_from_string(joined).graph.initializer}


def test_a_head_of_another_width_does_not_join():
    with pytest.raises(BundleInvalid, match="do not fit together"):
        graphs.join(graph(head=False).SerializeToString(), tail().SerializeToString(), on="nothing")


def test_halving_keeps_the_scores_and_the_head():
    made = halve(graph(halves=True).SerializeToString())
    unseen = [crops(20, seed=5)]
    np.testing.assert_allclose(logits(made, unseen), logits(FLOAT, unseen), atol=2e-2)
    types = {tensor.name: tensor.data_type for tensor in onnx.load_model_from_string(made).graph.initializer}
    assert types["wide.weight.fp16"] == TensorProto.FLOAT16
    assert {types[name] for name in HEAD} == {TensorProto.FLOAT}


def test_what_cannot_be_quantised_is_refused_in_words():
    with pytest.raises(BundleInvalid, match="no layer"):
        quantise(tiny_graph().SerializeToString(), [crops()])
    with pytest.raises(ConfigurationError, match="no crop"):
        quantise(FLOAT, [])
    with pytest.raises(BundleInvalid):
        quantise(b"\x08\x01nonsense", [crops()])


def test_a_trunk_that_overflows_is_refused_by_name():
    model = graph()
    [bias] = [tensor for tensor in model.graph.initializer if tensor.name == "wide.bias"]
    bias.CopyFrom(numpy_helper.from_array(np.full(CHANNELS, np.inf, np.float32), "wide.bias"))
    with pytest.raises(BundleInvalid, match=r"wide\.\w+ is not finite on some crop"):
        quantise(model.SerializeToString(), [crops()])


def test_data_in_another_file_is_refused():
    model = graph()
    weight = model.graph.initializer[2]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "weights.bin"
    with pytest.raises(BundleInvalid, match="another file"):
        quantise(model.SerializeToString(), [crops()])


def test_an_old_opset_is_refused():
    model = graph()
    model.opset_import[0].CopyFrom(helper.make_opsetid("", 11))
    for node in model.graph.node:
        if node.op_type == "ReduceSum":  # its axes were an attribute then
            del node.input[1:]
            node.attribute.append(helper.make_attribute("axes", [1]))
    with pytest.raises(BundleInvalid, match="opset 11"):
        quantise(model.SerializeToString(), [crops()])


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(InferenceFailed, match="not finite"):
        logits(graph(spoil=float("nan")).SerializeToString(), [crops()])
