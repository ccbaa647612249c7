"""A network as an ONNX model, converted operation by operation from the program that Paddle traces."""

from dataclasses import dataclass

import numpy as np
import paddle
from paddle.static import InputSpec

from digits.cli import InputError

OPSET = 13  # read by ONNX Runtime since 1.6 and by OpenCV since 4.6
INPUT, OUTPUT = "images", "logits"


def input_spec(network: paddle.nn.Layer) -> list[InputSpec]:
    """Describe the input to trace a network with: `images`, float32, with a free batch size."""
    return [InputSpec([None, *network.input_shape], "float32", INPUT)]


def to_onnx(network: paddle.nn.Layer) -> bytes:
    """Convert a network: input `images` float32 [N, *input_shape], output `logits` float32 [N, num_classes].

    Biases and batch norm are folded into the convolution that they follow. Traces the network, after which its
    `forward` is a static function: do not train it any more.

    Raises:
        InputError: the package onnx is not installed, or the network has an operation that cannot be converted.
    """
    try:
        import onnx
    except ImportError:
        raise InputError("the package onnx is not installed: pip install onnx") from None
    network.eval()
    traced = paddle.jit.to_static(network, input_spec=input_spec(network), full_graph=True)
    operations = traced.forward.main_program.global_block().ops
    graph = _Graph({tensor.name: tensor.numpy() for tensor in (*network.parameters(), *network.buffers())})
    for operation in operations:
        graph.convert(operation)
    nodes, initializers = [], []
    for node in graph.nodes:
        names = []
        for index, value in enumerate(node.inputs):
            if isinstance(value, np.ndarray):
                initializers.append(onnx.numpy_helper.from_array(value, f"{node.output}_{index}"))
                value = initializers[-1].name
            names.append(value)
        nodes.append(onnx.helper.make_node(node.type, names, [node.output], **node.attributes))
    nodes[-1].output[0] = OUTPUT
    shapes = {INPUT: network.input_shape, OUTPUT: operations[-1].results()[0].shape[1:]}
    inputs, outputs = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", *shapes[name]])
        for name in (INPUT, OUTPUT)
    )
    model = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, type(network).__name__, [inputs], [outputs], initializers),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=7,  # of the time of OPSET; onnx writes its newest, which older readers refuse
        producer_name="digits",
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


@dataclass
class _Node:
    """An ONNX node with one output; arrays among its inputs are constants."""

    type: str
    inputs: list
    output: str
    attributes: dict


class _Graph:
    """Nodes converted so far.

    Args:
        weights: parameters and buffers, by the names that Paddle generated.

    Attributes:
        nodes: in the order of computation.
        values: by the identity of each value of the program: the name of a node's output, or a constant array.
        readers: the number of operations that read a node's output.
    """

    def __init__(self, weights: dict[str, np.ndarray]):
        self.nodes: list[_Node] = []
        self.values: dict[str, str | np.ndarray] = {}
        self.readers: dict[str, int] = {}
        self.weights = weights

    def convert(self, operation) -> None:
        """Append the nodes of one operation of the program."""
        name = operation.name().removeprefix("pd_op.").removesuffix("_")
        convert = getattr(self, f"_convert_{name.replace('.', '_')}", None)
        if convert is None:
            raise InputError(f"ONNX: the operation '{name}' cannot be converted; --format paddle exports any network")
        sources = [self.values[value.id] for value in operation.operands_source() if value.initialized()]
        result = operation.results()[0]
        self.values[result.id] = value = convert(operation.attrs(), *sources)
        if isinstance(value, str):
            self.readers[value] = len(result.all_used_ops())

    def _add_node(self, type, inputs, **attributes):
        self.nodes.append(_Node(type, list(inputs), f"value{len(self.nodes)}", attributes))
        return self.nodes[-1].output

    def _producer(self, name, type):
        """Return the node of this type that computes a value for one reader only; None if there is none."""
        found = [node for node in self.nodes if node.output == name and node.type == type]
        return found[0] if found and self.readers[name] == 1 else None

    def _convert_builtin_parameter(self, attributes):
        return self.weights[attributes["parameter_name"]]

    def _convert_data(self, attributes):
        return INPUT

    def _convert_full(self, attributes):
        return np.float32(attributes["value"])

    def _convert_full_int_array(self, attributes):
        return np.int64(attributes["value"])

    def _convert_conv2d(self, attributes, images, weight):
        return self._add_node(
            "Conv",
            [images, weight],
            kernel_shape=weight.shape[2:],
            strides=attributes["strides"],
            pads=_pads(attributes),
            dilations=attributes["dilations"],
            group=attributes["groups"],
        )

    _convert_depthwise_conv2d = _convert_conv2d

    def _convert_pool2d(self, attributes, images, size):
        if attributes["adaptive"] and list(size) == [1, 1] and attributes["pooling_type"] == "avg":
            return self._add_node("GlobalAveragePool", [images])
        if attributes["adaptive"] or attributes["pooling_type"] != "max":
            raise InputError("ONNX: only max-pooling and global average pooling can be converted")
        return self._add_node(
            "MaxPool", [images], kernel_shape=size, strides=attributes["strides"], pads=_pads(attributes)
        )

    def _convert_batch_norm(self, attributes, images, mean, variance, scale, shift):
        epsilon = attributes["epsilon"]
        factor = scale / np.sqrt(variance + epsilon)
        if node := self._producer(images, "Conv"):
            node.inputs[1] = node.inputs[1] * factor.reshape(-1, 1, 1, 1)
            node.inputs[2:] = [sum(node.inputs[2:], -mean) * factor + shift]
            return images
        return self._add_node("BatchNormalization", [images, scale, shift, mean, variance], epsilon=epsilon)

    def _convert_add(self, attributes, value, other):
        if isinstance(value, np.ndarray):
            value, other = other, value
        if isinstance(other, np.ndarray):
            if node := self._producer(value, "Gemm"):
                node.inputs[2:] = [sum(node.inputs[2:], other)]
                return value
            pool = self._producer(value, "MaxPool")  # adding a constant commutes with taking a maximum
            if node := self._producer(pool.inputs[0] if pool else value, "Conv"):
                node.inputs[2:] = [sum(node.inputs[2:], other.ravel())]
                return value
        return self._add_node("Add", [value, other])

    def _convert_multiply(self, attributes, value, other):
        return self._add_node("Mul", [value, other])

    def _convert_sum(self, attributes, value, axes):
        return self._add_node("ReduceSum", [value, axes], keepdims=int(attributes["keepdim"]))

    def _convert_relu(self, attributes, value):
        return self._add_node("Relu", [value])

    def _convert_leaky_relu(self, attributes, value):
        return self._add_node("LeakyRelu", [value], alpha=attributes["negative_slope"])

    def _convert_sigmoid(self, attributes, value):
        return self._add_node("Sigmoid", [value])

    def _convert_dropout(self, attributes, value, *_):
        return value  # it does nothing in evaluation mode

    def _convert_flatten(self, attributes, value):
        start = attributes["start_axis"]
        if isinstance(value, np.ndarray):
            return value.reshape(*value.shape[:start], -1)
        if start == 1:
            return self._add_node("Flatten", [value], axis=1)
        return self._add_node("Reshape", [value, np.int64([0] * start + [-1])])  # 0 keeps a dimension

    def _convert_reshape(self, attributes, value, shape):
        return value.reshape(shape) if isinstance(value, np.ndarray) else self._add_node("Reshape", [value, shape])

    def _convert_expand_as(self, attributes, value, *_):
        return value  # ONNX broadcasts

    def _convert_matmul(self, attributes, value, weight):
        weight = weight if attributes["transpose_y"] else weight.T
        return self._add_node("Gemm", [value, weight], transB=1)  # OpenCV 4.6 refuses a Gemm with transB=0


def _pads(attributes):
    """Return the padding at the top, left, bottom and right."""
    if attributes["padding_algorithm"] != "EXPLICIT":
        raise InputError(f"ONNX: padding '{attributes['padding_algorithm']}' cannot be converted")
    vertical, horizontal = attributes["paddings"]
    return [vertical, horizontal, vertical, horizontal]
