import onnx
import pytest
from onnx import helper, numpy_helper

from models.optimisation import ranges, search
from models.optimisation.quantisation import Ranged, quantise
from models.optimisation.ranges import METHODS
from models.training.onnxexport import to_onnx
from tests.models.networks.small import pixels, tiny
from tests.models.optimisation.nets import CHANNELS, crops, graph

FLOAT = graph().SerializeToString()


def without_groups() -> bytes:
    """The net with an ordinary convolution in place of the grouped one."""
    model = graph()
    [node] = [node for node in model.graph.node if node.name == "/deep.conv"]
    [group] = [attribute for attribute in node.attribute if attribute.name == "group"]
    group.CopyFrom(helper.make_attribute("group", 1))
    [weight] = [tensor for tensor in model.graph.initializer if tensor.name == "deep.weight"]
    wide = numpy_helper.to_array(weight).repeat(CHANNELS, axis=1) / CHANNELS
    weight.CopyFrom(numpy_helper.from_array(wide, "deep.weight"))
    return model.SerializeToString()


@pytest.mark.parametrize(("model", "count"), [(FLOAT, 2), (without_groups(), 1)])
def test_no_way_to_eight_bits_is_made_twice(model, count):
    ways = list(search.ways(model, crops(24)))
    assert len({way.model for way in ways}) == len(ways) == count


def test_ways_that_share_their_ranges_are_what_each_is_alone():
    given = crops(24)
    told: list[int] = []
    said: list[str] = []
    setting = [given[[place % 4 != 3 for place in range(24)]]]
    for way in search.ways(FLOAT, given, advance=told.append, report=said.append):
        assert way.model == quantise(FLOAT, setting, method=way.method, exclude=way.exclude)
    assert sum(told) == search.setting(24) == 18
    assert said[:3] == [f"int8: ranges by {method}, the first layer in float" for method in METHODS]
    assert len(said) == 4  # and one step on the ladder, with fewer layers in eight bits


@pytest.mark.parametrize("method", METHODS)
def test_a_model_too_large_for_many_crops_at_once_is_quantised_too(method, monkeypatch):
    whole = quantise(FLOAT, [crops()], method=method)
    monkeypatch.setattr(ranges, "_ROOM", 1)
    one_by_one = quantise(FLOAT, [crops()], method=method)
    assert (one_by_one == whole) is (method == "minmax")  # a histogram's bins follow the first crops
    assert len(onnx.load_model_from_string(one_by_one).graph.node) == len(onnx.load_model_from_string(whole).graph.node)


def test_of_a_transformer_only_what_is_quantised_is_looked_at():
    trunk = to_onnx(tiny("vit_b16").eval(), 32, ["features"])
    ranged = Ranged.of(trunk, [pixels(4, 32)])
    attention = {node.output[0] for node in ranged.model.graph.node if node.op_type == "Softmax"}
    assert attention
    assert attention.isdisjoint(ranged.ranges.by("minmax"))
    made = onnx.load_model_from_string(ranged.quantised("minmax", ("first",)))
    assert {"int8", "float32"} <= {numpy_helper.to_array(weight).dtype.name for weight in made.graph.initializer}
