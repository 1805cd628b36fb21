"""The last convolution as a matrix product, where it reads deterministic features under a mask.

With dropout before the head only, the logits of a pass are linear in its mask m: at every pixel
they are the sum over c of m_c r_c, where the response r_c is the convolution of channel c alone.
Responses are computed once a frame; the logits of all passes are then one product
[T, C] x [C, H W], instead of T convolutions.
"""

import numpy as np
import onnx

from trainer.adapters.stochastic_graph.frontier import Origin, trace_origins
from trainer.adapters.stochastic_graph.network import (
    Network,
    Shape,
    attribute,
    consumers,
    producers,
)

__all__ = ["make_head_linear"]

_FIELDS = 4  # axes of feature maps


def make_head_linear(network: Network) -> Network:
    """Return an equivalent network; the same one where no convolution allows it.

    Done for convolutions to one channel: with more of them there would be a response for every
    pair of channels.
    """
    origins = trace_origins(network)
    made_by = producers(network.nodes)
    readers = consumers(network.nodes)
    nodes: list[onnx.NodeProto] = []
    for node in network.nodes:
        product = made_by.get(node.input[0]) if node.op_type == "Conv" else None
        if product is None or product.op_type != "Mul" or len(readers[product.output[0]]) > 1:
            nodes.append(node)
            continue
        masks = [name for name in product.input if origins.of(name) is Origin.PASS]
        features = [name for name in product.input if origins.of(name) is Origin.FRAME]
        weight = network.constants.get(node.input[1])
        if (
            len(masks) != 1
            or len(features) != 1
            or not _is_channel_mask(network.shapes[masks[0]], network.shapes[features[0]])
            or weight is None
            or weight.shape[0] != 1
            or attribute(node, "group", 1) != 1
        ):
            nodes.append(node)
            continue
        network = _linear(node, masks[0], features[0], network, nodes)
    return network.having(nodes).needed()


def _is_channel_mask(mask: Shape, features: Shape) -> bool:
    return len(mask) == _FIELDS and mask[1] == features[1] and mask[2:] == (1, 1)


def _linear(
    node: onnx.NodeProto, mask: str, features: str, network: Network, nodes: list[onnx.NodeProto]
) -> Network:
    output = node.output[0]
    weight = network.constants[node.input[1]]  # [1, C, k, k]
    channels = weight.shape[1]
    _, _, height, width = network.shapes[output]
    assert height is not None  # only the batch is unknown
    assert width is not None
    constants = {
        f"{output}_by_channel": np.ascontiguousarray(weight.transpose(1, 0, 2, 3)),
        f"{output}_responses_shape": np.array([0, channels, height * width], np.int64),
        f"{output}_mask_shape": np.array([0, 1, channels], np.int64),
        f"{output}_shape": np.array([0, 1, height, width], np.int64),
    }
    shapes: dict[str, Shape] = {
        f"{output}_responses": (None, channels, height, width),
        f"{output}_responses_flat": (None, channels, height * width),
        f"{output}_mask": (None, 1, channels),
        f"{output}_flat": (None, 1, height * width),
    }
    responses = onnx.NodeProto()
    responses.CopyFrom(node)
    responses.name = ""
    responses.input[:] = [features, f"{output}_by_channel"]
    responses.output[:] = [f"{output}_responses"]
    kept = [candidate for candidate in responses.attribute if candidate.name != "group"]
    del responses.attribute[:]
    responses.attribute.extend([*kept, onnx.helper.make_attribute("group", channels)])
    bias = network.constants[node.input[2]] if len(node.input) > 2 else None  # noqa: PLR2004
    make = onnx.helper.make_node
    nodes += [
        responses,
        make(
            "Reshape",
            [f"{output}_responses", f"{output}_responses_shape"],
            [f"{output}_responses_flat"],
        ),
        make("Reshape", [mask, f"{output}_mask_shape"], [f"{output}_mask"]),
        make("MatMul", [f"{output}_mask", f"{output}_responses_flat"], [f"{output}_flat"]),
    ]
    if bias is None:
        nodes.append(make("Reshape", [f"{output}_flat", f"{output}_shape"], [output]))
    else:
        constants[f"{output}_bias"] = bias.reshape(1, 1, 1, 1)
        shapes[f"{output}_unbiased"] = (None, 1, height, width)
        nodes += [
            make("Reshape", [f"{output}_flat", f"{output}_shape"], [f"{output}_unbiased"]),
            make("Add", [f"{output}_unbiased", f"{output}_bias"], [output]),
        ]
    return network.having((), constants, shapes)
