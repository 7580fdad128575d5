import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.external_data_helper import convert_model_to_external_data, set_external_data

from models.onnxfile import refuse_outside_data
from stream.errors import BundleInvalid
from tests.models.tiny import tiny_graph


def outside_tensor() -> TensorProto:
    tensor = helper.make_tensor("secret", TensorProto.FLOAT, [4], [0.0] * 4)
    tensor.raw_data = b"\0" * 16
    set_external_data(tensor, "../../etc/passwd")
    tensor.ClearField("raw_data")
    return tensor


def attribute(**fields: object) -> onnx.AttributeProto:
    made = onnx.AttributeProto(name="value")
    for name, value in fields.items():
        target = getattr(made, name)
        target.append(value) if isinstance(value, list) else target.CopyFrom(value)
    return made


def node(inner: onnx.AttributeProto) -> onnx.NodeProto:
    made = helper.make_node("Constant", [], ["k"])
    made.attribute.append(inner)
    return made


def subgraph(tensor: TensorProto) -> onnx.GraphProto:
    return helper.make_graph([], "inner", [], [], [tensor])


def in_initializer(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(outside_tensor())


def in_sparse_values(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.append(onnx.SparseTensorProto(values=outside_tensor()))


def in_sparse_indices(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.append(onnx.SparseTensorProto(indices=outside_tensor()))


def in_attribute(model: onnx.ModelProto) -> None:
    model.graph.node.append(node(attribute(t=outside_tensor())))


def in_attribute_list(model: onnx.ModelProto) -> None:
    made = onnx.AttributeProto(name="value")
    made.tensors.append(outside_tensor())
    model.graph.node.append(node(made))


def in_subgraph(model: onnx.ModelProto) -> None:
    model.graph.node.append(node(attribute(g=subgraph(outside_tensor()))))


def in_subgraph_list(model: onnx.ModelProto) -> None:
    made = onnx.AttributeProto(name="value")
    made.graphs.append(subgraph(outside_tensor()))
    model.graph.node.append(node(made))


def in_sparse_attribute(model: onnx.ModelProto) -> None:
    model.graph.node.append(node(attribute(sparse_tensor=onnx.SparseTensorProto(values=outside_tensor()))))


def in_function(model: onnx.ModelProto) -> None:
    model.functions.append(onnx.FunctionProto(name="f", node=[node(attribute(t=outside_tensor()))]))


def in_training(model: onnx.ModelProto) -> None:
    model.training_info.append(onnx.TrainingInfoProto(algorithm=subgraph(outside_tensor())))


@pytest.mark.parametrize(
    "place",
    [
        in_initializer,
        in_sparse_values,
        in_sparse_indices,
        in_attribute,
        in_attribute_list,
        in_subgraph,
        in_subgraph_list,
        in_sparse_attribute,
        in_function,
        in_training,
    ],
)
def test_outside_data_is_found_wherever_a_tensor_may_be(place):
    model = tiny_graph()
    place(model)
    with pytest.raises(BundleInvalid, match="'secret' keeps its data in another file"):
        refuse_outside_data(model.SerializeToString(), where="here")


def test_a_model_saved_with_its_weights_beside_it_is_refused():
    model = tiny_graph()
    convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    with pytest.raises(BundleInvalid, match="in another file"):
        refuse_outside_data(model.SerializeToString(), where="here")


def test_a_compiled_engine_on_disk_is_refused():
    model = tiny_graph()
    model.graph.node.append(helper.make_node("EPContext", [], ["k"], name="engine", domain="com.microsoft"))
    with pytest.raises(BundleInvalid, match="'engine' names a compiled engine"):
        refuse_outside_data(model.SerializeToString(), where="here")


def test_a_model_that_holds_its_data_passes():
    refuse_outside_data(tiny_graph().SerializeToString(), where="here")


def test_graphs_nested_beyond_reason_are_refused():
    graph = subgraph(helper.make_tensor("t", TensorProto.FLOAT, [1], [0.0]))
    for _ in range(30):
        graph = helper.make_graph([node(attribute(g=graph))], "outer", [], [])
    with pytest.raises(BundleInvalid, match="nested"):
        refuse_outside_data(helper.make_model(graph).SerializeToString(), where="here")


@pytest.mark.parametrize(
    "data",
    [b"\x3a\xff\x01", b"\xff" * 12, b"\x0b", b"\x00\x01", b"\x80\x80\x80\x80\x80\x01\x00", b"\x09\x00", b"\x3a"],
    ids=["too short", "endless number", "group", "field 0", "huge field", "short double", "no length"],
)
def test_what_is_not_a_protobuf_is_refused(data):
    with pytest.raises(BundleInvalid, match="not a readable ONNX file"):
        refuse_outside_data(data, where="here")


@given(st.binary(max_size=200))
def test_noise_is_read_or_refused(data):
    try:
        refuse_outside_data(data, where="here")
    except BundleInvalid as error:
        refusal = error.where
    else:
        refusal = "here"
    assert refusal == "here"
