"""Writes toolkit/minilm.onnx: the arithmetic of all-MiniLM-L6-v2, whose weights stay in their package.

A BERT of 6 layers (Devlin et al., "BERT", 2019) whose last states are averaged over the tokens (Reimers and Gurevych,
"Sentence-BERT", 2019). The graph names the places of the weights in the published ``model.safetensors``. It changes
with the encoder only, so the package onnx is no dependency: ``pip install onnx``, then ``python -m
scripts.encoder_graph``.
"""

import json
from pathlib import Path
from typing import Any

from onnx import TensorProto, helper

from toolkit.encoder import GRAPH, WEIGHTS, model_folder

LAYERS, HEADS, WIDTH = 6, 12, 384
OPSET, IR_VERSION = 20, 9


class Graph:
    """Nodes and tensors so far. Every method adds one and returns its name, which is that of a node's result."""

    def __init__(self, weights: Path) -> None:
        with weights.open("rb") as file:
            self._begin = 8 + int.from_bytes(file.read(8), "little")
            self._header = json.loads(file.read(self._begin - 8))
        self.nodes: list[Any] = []
        self.tensors: dict[str, Any] = {}

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def weight(self, name: str) -> str:
        """A tensor of the file, by its place there."""
        if name not in self.tensors:
            begin, end = self._header[name]["data_offsets"]
            tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=self._header[name]["shape"])
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", WEIGHTS), ("offset", self._begin + begin), ("length", end - begin)):
                tensor.external_data.add(key=key, value=str(value))
            self.tensors[name] = tensor
        return name

    def whole(self, *numbers: int) -> str:
        name = "x".join(map(str, numbers))
        self.tensors[name] = helper.make_tensor(name, TensorProto.INT64, [len(numbers)], numbers)
        return name

    def real(self, number: float) -> str:
        name = f"real_{number}"
        self.tensors[name] = helper.make_tensor(name, TensorProto.FLOAT, [], [number])
        return name

    def linear(self, states: str, name: str) -> str:
        return self.add("Gemm", states, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"), transB=1)

    def normed(self, states: str, name: str) -> str:
        scale, shift = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.add("LayerNormalization", states, scale, shift, axis=-1, epsilon=1e-12)


def encoder(graph: Graph) -> str:
    """From ``tokens``, int64 [texts, tokens of each], to the name of the vectors, float32 [texts, 384]."""
    words = graph.add("Gather", graph.weight("embeddings.word_embeddings.weight"), "tokens")
    length = graph.add("Shape", "tokens", start=1, end=2)
    places = graph.add("Slice", graph.weight("embeddings.position_embeddings.weight"), graph.whole(0), length)
    kind = graph.add("Gather", graph.weight("embeddings.token_type_embeddings.weight"), graph.whole(0))
    states = graph.add("Add", graph.add("Add", words, places), kind)
    states = graph.add("Reshape", graph.normed(states, "embeddings.LayerNorm"), graph.whole(-1, WIDTH))
    for number in range(LAYERS):
        states = layer(graph, states, f"encoder.layer.{number}")
    texts = graph.add("Concat", graph.add("Shape", "tokens"), graph.whole(WIDTH), axis=0)
    means = graph.add("ReduceMean", graph.add("Reshape", states, texts), graph.whole(1), keepdims=0)
    return graph.add("LpNormalization", means, axis=-1, p=2)


def layer(graph: Graph, states: str, name: str) -> str:
    heard = graph.linear(attention(graph, states, f"{name}.attention.self"), f"{name}.attention.output.dense")
    states = graph.normed(graph.add("Add", states, heard), f"{name}.attention.output.LayerNorm")
    wide = graph.add("Gelu", graph.linear(states, f"{name}.intermediate.dense"))
    return graph.normed(
        graph.add("Add", states, graph.linear(wide, f"{name}.output.dense")), f"{name}.output.LayerNorm"
    )


def attention(graph: Graph, states: str, name: str) -> str:
    heads = graph.add("Concat", graph.add("Shape", "tokens"), graph.whole(HEADS, WIDTH // HEADS), axis=0)
    split = {
        part: graph.add("Reshape", graph.linear(states, f"{name}.{part}"), heads) for part in ("query", "key", "value")
    }
    queries = graph.add("Transpose", split["query"], perm=[0, 2, 1, 3])
    keys = graph.add("Transpose", split["key"], perm=[0, 2, 3, 1])
    values = graph.add("Transpose", split["value"], perm=[0, 2, 1, 3])
    scores = graph.add("Mul", graph.add("MatMul", queries, keys), graph.real((WIDTH // HEADS) ** -0.5))
    heard = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), values)
    return graph.add("Reshape", graph.add("Transpose", heard, perm=[0, 2, 1, 3]), graph.whole(-1, WIDTH))


def main() -> None:
    graph = Graph(model_folder() / WEIGHTS)
    graph.nodes.append(helper.make_node("Identity", [encoder(graph)], ["vectors"]))
    made = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "all-MiniLM-L6-v2",
            [helper.make_tensor_value_info("tokens", TensorProto.INT64, ["texts", "length"])],
            [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["texts", WIDTH])],
            list(graph.tensors.values()),
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    GRAPH.write_bytes(made.SerializeToString())


if __name__ == "__main__":
    main()
