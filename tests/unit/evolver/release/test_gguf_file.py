"""GGUF files as ``gguf.GGUFReader`` reads them. That an engine answers alike from them is in tests/integration."""

import importlib.util
import json
import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from tokenizers import Tokenizer

from agent.models.detect import profile_of
from evolver.release import gguf_file
from tests.fakes.model_folders import write_family
from tests.fakes.pieces import write_pieces
from toolkit.errors import PrerequisiteError, UserError

Array = np.ndarray[Any, Any]
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 1,
    "hidden_size": 8,
    "intermediate_size": 6,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 4,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 20000.0,
}
GEMMA = {
    "architectures": ["Gemma3ForCausalLM"],
    "rope_theta": 1_000_000.0,
    "query_pre_attn_scalar": 4,
    "sliding_window": 16,
}
PARTS = {"q_proj": (8, 8), "k_proj": (4, 8), "v_proj": (4, 8), "o_proj": (8, 8)}


def make_model(folder: Path, family: str = "qwen3", **changes: Any) -> dict[str, Array]:
    """Write a model of one layer in bfloat16; return its tensors as bits. Two rows of it have no token. A Gemma gets a
    tokenizer of pieces."""
    write_family(folder, family)
    if family == "gemma3":
        write_pieces(folder)
        changes = {**GEMMA, **changes}
    rows = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size() + 2
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (rows, 8),
        "model.norm.weight": (8,),
        "model.layers.0.input_layernorm.weight": (8,),
        "model.layers.0.mlp.down_proj.weight": (8, 6),
        **{f"model.layers.0.self_attn.{part}.weight": shape for part, shape in PARTS.items()},
    }
    random = np.random.default_rng(0)
    made = {name: random.integers(0, 1 << 15, shape, dtype=np.uint16) for name, shape in shapes.items()}
    header, end = {}, 0
    for name, tensor in made.items():
        header[name] = {"dtype": "BF16", "shape": tensor.shape, "data_offsets": [end, end := end + tensor.nbytes]}
    text = json.dumps(header).encode()
    content = b"".join(tensor.tobytes() for tensor in made.values())
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + content)
    return made


def written(folder: Path) -> gguf.GGUFReader:
    gguf_file.write(folder, profile_of(folder), "adapter-0001", folder / "m.gguf")
    return gguf.GGUFReader(folder / "m.gguf")


def tensors(read: gguf.GGUFReader) -> dict[str, Array]:
    """By their names; bfloat16 as bits."""
    found = {}
    for tensor in read.tensors:
        bits = tensor.tensor_type == gguf.GGMLQuantizationType.BF16
        found[tensor.name] = np.asarray(tensor.data).view(np.uint16) if bits else np.asarray(tensor.data)
    return found


def values(read: gguf.GGUFReader) -> dict[str, Any]:
    return {name: field.contents() for name, field in read.fields.items()}


def test_every_tensor_keeps_its_bits(tmp_path: Path) -> None:
    made = make_model(tmp_path)
    found = tensors(written(tmp_path))
    assert len(found) == len(made)
    for name, place in {"embed_tokens": "token_embd", "layers.0.mlp.down_proj": "blk.0.ffn_down"}.items():
        assert np.array_equal(found[f"{place}.weight"], made[f"model.{name}.weight"])
    for part, place in {"v_proj": "attn_v", "o_proj": "attn_output"}.items():
        assert np.array_equal(found[f"blk.0.{place}.weight"], made[f"model.layers.0.self_attn.{part}.weight"])
    norm = found["output_norm.weight"]
    assert norm.dtype == np.float32
    assert np.array_equal(norm.view(np.uint32) >> 16, made["model.norm.weight"])


def test_halves_of_a_head_become_neighbours(tmp_path: Path) -> None:
    made = make_model(tmp_path)
    found = tensors(written(tmp_path))
    q, k = (made[f"model.layers.0.self_attn.{part}.weight"] for part in ("q_proj", "k_proj"))
    assert np.array_equal(found["blk.0.attn_q.weight"], q[[0, 2, 1, 3, 4, 6, 5, 7]])
    assert np.array_equal(found["blk.0.attn_k.weight"], k[[0, 2, 1, 3]])


def test_qwen_3_turns_halves_also_in_llama_cpp(tmp_path: Path) -> None:
    made = make_model(tmp_path, architectures=["Qwen3ForCausalLM"])
    read = written(tmp_path)
    assert values(read)["general.architecture"] == "qwen3"
    q = made["model.layers.0.self_attn.q_proj.weight"]
    assert np.array_equal(tensors(read)["blk.0.attn_q.weight"], q)


def test_vocabulary_template_and_shape_are_those_of_the_model(tmp_path: Path) -> None:
    made = make_model(tmp_path)
    profile = profile_of(tmp_path)
    found = values(written(tmp_path))
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    size, rows = tokenizer.get_vocab_size(), len(made["model.embed_tokens.weight"])
    tokens = found["tokenizer.ggml.tokens"]
    assert tokens == [*map(tokenizer.id_to_token, range(size)), f"[PAD{size}]", f"[PAD{rows - 1}]"]
    types = dict(zip(tokens, found["tokenizer.ggml.token_type"], strict=True))
    kinds = gguf.TokenType
    assert (types["a"], types["<|im_end|>"], types[tokens[-1]]) == (kinds.NORMAL, kinds.CONTROL, kinds.UNUSED)
    assert found["tokenizer.chat_template"] == profile.template
    assert tokens[found["tokenizer.ggml.eot_token_id"]] == profile.end_of_turn
    assert found["tokenizer.ggml.add_bos_token"] is profile.adds_bos is False
    assert found["tokenizer.ggml.pre"] == "gpt-2"
    assert found["llama.attention.key_length"] == 4
    assert found["llama.rope.freq_base"] == 20000.0


def test_a_bos_token_that_the_tokenizer_adds_is_added(tmp_path: Path) -> None:
    make_model(tmp_path, "llama3")
    found = values(written(tmp_path))
    assert found["tokenizer.ggml.add_bos_token"] is True
    assert found["tokenizer.ggml.tokens"][found["tokenizer.ggml.bos_token_id"]] == "<|begin_of_text|>"


def test_merges_are_written(tmp_path: Path) -> None:
    make_model(tmp_path)
    file = tmp_path / "tokenizer.json"
    content = json.loads(file.read_text())
    content["model"]["vocab"]["th"] = len(content["model"]["vocab"]) + len(content["added_tokens"])
    content["model"]["merges"] = [["t", "h"]]
    file.write_text(json.dumps(content))
    assert values(written(tmp_path))["tokenizer.ggml.merges"] == ["t h"]


def test_the_stretched_rotation_of_llama_3_is_transformers_own(tmp_path: Path) -> None:
    rope = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 32}  # fmt: skip
    make_model(tmp_path, rope_parameters=rope, head_dim=8, hidden_size=8, num_attention_heads=1)
    factors = tensors(written(tmp_path))["rope_freqs.weight"]
    # transformers.modeling_rope_utils, for waves of 6.28, 62.8, 628 and 6283 positions against 32 / 4 and 32 / 1
    assert factors.tolist() == [1.0, 8.0, 8.0, 8.0]


def test_norms_of_gemma_are_one_more_than_their_weights(tmp_path: Path) -> None:
    made = make_model(tmp_path, "gemma3")["model.norm.weight"]
    weights = (made.astype(np.uint32) << 16).view(np.float32)
    assert np.array_equal(tensors(written(tmp_path))["output_norm.weight"], weights + np.float32(1))


def test_the_shape_of_gemma_is_that_of_its_global_layers_and_its_window(tmp_path: Path) -> None:
    near, far = {"rope_type": "default", "rope_theta": 1e4}, {"rope_type": "linear", "factor": 8.0, "rope_theta": 2e6}
    make_model(tmp_path, "gemma3", rope_parameters={"full_attention": far, "sliding_attention": near})
    found = values(written(tmp_path))
    assert found["general.architecture"] == "gemma3"
    assert found["gemma3.attention.sliding_window"] == 16
    assert found["gemma3.rope.freq_base"] == 2e6
    assert (found["gemma3.rope.scaling.type"], found["gemma3.rope.scaling.factor"]) == ("linear", 8.0)


def test_a_gemma_of_an_older_transformers_is_the_same(tmp_path: Path) -> None:
    make_model(
        tmp_path, "gemma3", rope_theta=2e6, rope_local_base_freq=1e4, rope_scaling={"type": "linear", "factor": 8}
    )
    found = values(written(tmp_path))
    assert (found["gemma3.rope.freq_base"], found["gemma3.rope.scaling.factor"]) == (2e6, 8.0)


def test_the_largest_gemma_scales_attention_by_its_width(tmp_path: Path) -> None:
    make_model(tmp_path, "gemma3", num_hidden_layers=62, head_dim=8, query_pre_attn_scalar=4)
    gguf_file.check(tmp_path)
    make_model(tmp_path, "gemma3", num_hidden_layers=61, head_dim=8, query_pre_attn_scalar=4)
    with pytest.raises(UserError, match="a scale of attention of 4"):
        gguf_file.check(tmp_path)


def test_pieces_have_scores_and_types(tmp_path: Path) -> None:
    made = make_model(tmp_path, "gemma3")
    file = tmp_path / "tokenizer.json"
    content = json.loads(file.read_text())
    blanks = {"id": content["model"]["vocab"]["▁▁▁"], "content": "▁▁▁", "special": False, "normalized": False,
              "single_word": False, "lstrip": False, "rstrip": False}  # fmt: skip
    file.write_text(json.dumps({**content, "added_tokens": [*content["added_tokens"], blanks]}))
    found = values(written(tmp_path))
    assert found["tokenizer.ggml.model"] == "llama"
    assert found["tokenizer.ggml.add_space_prefix"] is False
    assert found["tokenizer.ggml.add_bos_token"] is True
    assert "tokenizer.ggml.merges" not in found
    tokens = found["tokenizer.ggml.tokens"]
    assert len(tokens) == len(made["model.embed_tokens.weight"])
    scores = dict(zip(tokens, found["tokenizer.ggml.scores"], strict=True))
    first = min(rank for rank, merge in enumerate(content["model"]["merges"]) if "".join(merge) == "▁the")
    assert scores["▁the"] == -first < 0
    types, kinds = dict(zip(tokens, found["tokenizer.ggml.token_type"], strict=True)), gguf.TokenType
    expected = {"▁the": kinds.NORMAL, "<0x0A>": kinds.BYTE, "<bos>": kinds.CONTROL, "\n\n": kinds.USER_DEFINED,
                "▁▁▁": kinds.NORMAL, tokens[-1]: kinds.UNUSED}  # fmt: skip
    assert {text: types[text] for text in expected} == expected


def test_nothing_is_said_of_templates_that_no_file_holds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_model(tmp_path, "gemma3")
    written(tmp_path)
    assert caplog.messages == []


def test_a_row_without_a_token_whose_name_could_be_typed_is_refused(tmp_path: Path) -> None:
    make_model(tmp_path, "gemma3")
    file = tmp_path / "tokenizer.json"
    content = json.loads(file.read_text())
    vocab = content["model"]["vocab"]
    unused = len(vocab) + 1
    content["model"]["vocab"] = {**vocab, f"[PAD{unused}": len(vocab)}
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"the unused token \[PAD{unused}\] cannot be written"):
        written(tmp_path)


@pytest.mark.parametrize(
    ("family", "changes", "told"),
    [
        (
            "qwen3",
            {"architectures": ["PhiForCausalLM"]},
            r"PhiForCausalLM cannot be written as GGUF; supported are Llama",
        ),
        ("qwen3", {"rope_scaling": {"type": "yarn", "factor": 2}}, "rotary embeddings of the kind yarn"),
        ("qwen3", {"rope_scaling": {"type": "linear", "factor": 2}}, "rotary embeddings of the kind linear"),
        ("qwen3", {"sliding_window": 32}, "a LlamaForCausalLM with a sliding window cannot be written as GGUF"),
        ("qwen3", {"hidden_act": "gelu"}, "the activation gelu"),
        ("gemma3", {"rope_scaling": {"rope_type": "yarn", "factor": 2}}, "rotary embeddings of the kind yarn"),
        ("gemma3", {"rope_local_base_freq": 20_000.0}, "local rotary embeddings of another base than 10,000"),
        ("gemma3", {"layer_types": ["full_attention"]}, "other global layers than each sixth"),
        ("gemma3", {"num_hidden_layers": 4, "sliding_window_pattern": 4}, "other global layers than each sixth"),
        ("gemma3", {"sliding_window": None}, "no sliding window"),
        ("gemma3", {"query_pre_attn_scalar": 8}, "a scale of attention of 8"),
        ("gemma3", {"hidden_activation": "silu"}, "the activation silu"),
        ("gemma3", {"final_logit_softcapping": 30.0}, "capped logits"),
        ("gemma3", {"use_bidirectional_attention": True}, "bidirectional attention"),
        ("gemma3", {"attention_bias": True}, "biases in attention"),
    ],
)
def test_a_model_that_would_answer_wrongly_is_refused(
    tmp_path: Path, family: str, changes: dict[str, Any], told: str
) -> None:
    make_model(tmp_path, family, **changes)
    with pytest.raises(UserError, match=told):
        gguf_file.check(tmp_path)


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ({"pre_tokenizer": {"type": "Whitespace"}}, "BPE"),
        ({"model": {"type": "Unigram", "byte_fallback": True, "unk_id": None, "vocab": [["a", 0.0]]}}, "Unigram"),
    ],
)
def test_a_tokenizer_that_llama_cpp_does_not_have_is_refused(tmp_path: Path, part: dict[str, Any], kind: str) -> None:
    make_model(tmp_path)
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **part}))
    told = rf"the tokenizer \({kind}\) cuts texts otherwise than those of GPT-2, SmolLM2, Llama 3, Qwen and Gemma 3"
    with pytest.raises(UserError, match=told):
        gguf_file.check(tmp_path)


def test_without_the_package_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(PrerequisiteError, match=r"needs the package gguf; install it: pip install 'apprentice-agent"):
        gguf_file.check(tmp_path)
