"""Shape of a model as GGUF tells it to llama.cpp, read from the model's config.json.

llama.cpp knows much of an architecture by its name alone: activation, scale of attention, which layers of Gemma 3 look
through a window. Where a config.json says otherwise, the model is refused.
"""

import math
from collections.abc import Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.errors import UserError

if TYPE_CHECKING:
    from gguf import GGUFWriter

Array = np.ndarray[Any, Any]

ARCHITECTURES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
    "Qwen3ForCausalLM": "qwen3",
    "Gemma3ForCausalLM": "gemma3",
}
"""transformers' names, and llama.cpp's."""

_GEMMA_DEFAULTS = {
    "head_dim": 256,
    "query_pre_attn_scalar": 256,
    "num_key_value_heads": 4,
    "sliding_window": 4096,
    "sliding_window_pattern": 6,
    "rope_theta": 1_000_000.0,
    "rope_local_base_freq": 10_000.0,
    "hidden_activation": "gelu_pytorch_tanh",
}
"""Defaults of transformers, for a config.json of an older version that leaves them out."""

_GLOBAL_EVERY = 6
_LOCAL_BASE = 10_000.0
_LAYERS_OF_27B = 62


@dataclass(frozen=True)
class Shape:
    """A model's sizes. ``window``: positions that local layers look back on, 0 without such layers. ``rope``:
    transformers' ``rope_parameters``, those of global layers."""

    architecture: str
    layers: int
    context: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    head: int
    epsilon: float
    window: int
    rope: dict[str, Any]

    @classmethod
    def of(cls, config: dict[str, Any]) -> "Shape":
        """Read the model's config.json. Raises UserError where llama.cpp has no such model."""
        named = (config.get("architectures") or ["unknown"])[0]
        if named not in ARCHITECTURES:
            raise UserError(f"{named} cannot be written as GGUF; supported are {', '.join(ARCHITECTURES)}")
        architecture = ARCHITECTURES[named]
        if architecture == "gemma3":
            config = {**_GEMMA_DEFAULTS, **config}
            rope, odds = _gemma_rope(config), _gemma_odds(config)
        else:
            rope, odds = _rope(config), _odds(config)
        if rope["rope_type"] not in (("default", "linear") if architecture == "gemma3" else ("default", "llama3")):
            odds = [f"rotary embeddings of the kind {rope['rope_type']}", *odds]
        if odds:
            raise UserError(f"a {named} with {odds[0]} cannot be written as GGUF; export it as merged")
        heads = config["num_attention_heads"]
        return cls(
            architecture=architecture,
            layers=config["num_hidden_layers"],
            context=config["max_position_embeddings"],
            width=config["hidden_size"],
            inner=config["intermediate_size"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head=config.get("head_dim") or config["hidden_size"] // heads,
            epsilon=config["rms_norm_eps"],
            window=config["sliding_window"] if architecture == "gemma3" else 0,
            rope=rope,
        )

    def rope_factors(self) -> Array | None:
        """Return the factors by which llama.cpp divides the frequencies (head / 2,); None where all are the same."""
        if self.rope["rope_type"] != "llama3":
            return None
        factor, low, high = (self.rope[f"{name}factor"] for name in ("", "low_freq_", "high_freq_"))
        old = self.rope["original_max_position_embeddings"]
        waves = 2 * math.pi * self.rope["rope_theta"] ** (np.arange(0, self.head, 2) / self.head)
        smooth = np.clip((old / waves - low) / (high - low), 0, 1)
        return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)

    def add_to(self, writer: "GGUFWriter", name: str, forms: Set[str]) -> None:
        """Write this and the model's ``name``. ``forms``: the types of its tensors, as safetensors names them."""
        import gguf

        kinds = {"BF16": gguf.LlamaFileType.MOSTLY_BF16, "F16": gguf.LlamaFileType.MOSTLY_F16}
        writer.add_type("model")
        writer.add_name(name)
        writer.add_file_type(next((kinds[form] for form in kinds if form in forms), gguf.LlamaFileType.ALL_F32))
        writer.add_block_count(self.layers)
        writer.add_context_length(self.context)
        writer.add_embedding_length(self.width)
        writer.add_feed_forward_length(self.inner)
        writer.add_head_count(self.heads)
        writer.add_head_count_kv(self.kv_heads)
        writer.add_key_length(self.head)
        writer.add_value_length(self.head)
        writer.add_rope_dimension_count(self.head)
        writer.add_rope_freq_base(self.rope["rope_theta"])
        if self.rope["rope_type"] == "linear":
            writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(self.rope["factor"])
        if self.window:
            writer.add_sliding_window(self.window)
        writer.add_layer_norm_rms_eps(self.epsilon)


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    theta = {"rope_theta": config.get("rope_theta", 10000.0)}
    return _typed({**theta, **(config.get("rope_parameters") or config.get("rope_scaling") or {})})


def _gemma_rope(config: dict[str, Any], layers: str = "full_attention") -> dict[str, Any]:
    """Return the rotation of global layers, or of ``sliding_attention`` ones."""
    own = (config.get("rope_parameters") or {}).get(layers) or {}
    if layers == "full_attention":
        return _typed({"rope_theta": config["rope_theta"], **(config.get("rope_scaling") or {}), **own})
    return _typed({"rope_theta": config["rope_local_base_freq"], **own})


def _typed(rope: dict[str, Any]) -> dict[str, Any]:
    return {**rope, "rope_type": rope.get("rope_type", rope.get("type", "default"))}


def _odds(config: dict[str, Any]) -> list[str]:
    """Return the properties that llama.cpp does not expect of the architecture."""
    found = []
    if config.get("sliding_window") and config.get("use_sliding_window", True):
        found.append("a sliding window")
    if (activation := config.get("hidden_act", "silu")) != "silu":
        found.append(f"the activation {activation}")
    return found


def _gemma_odds(config: dict[str, Any]) -> list[str]:
    """Return the properties that llama.cpp does not expect of a Gemma 3."""
    count, every = config["num_hidden_layers"], config["sliding_window_pattern"]
    kinds = ("full_attention", "sliding_attention")
    layers = config.get("layer_types") or [kinds[bool((i + 1) % every)] for i in range(count)]
    near = _gemma_rope(config, "sliding_attention")
    head = config["hidden_size"] // config["num_attention_heads"] if count == _LAYERS_OF_27B else config["head_dim"]
    odd = {
        "bidirectional attention": config.get("use_bidirectional_attention"),
        "capped logits": config.get("final_logit_softcapping") or config.get("attn_logit_softcapping"),
        "biases in attention": config.get("attention_bias"),
        f"the activation {config['hidden_activation']}": config["hidden_activation"] != "gelu_pytorch_tanh",
        f"a scale of attention of {config['query_pre_attn_scalar']}": config["query_pre_attn_scalar"] != head,
        "other global layers than each sixth": layers != [kinds[bool((i + 1) % _GLOBAL_EVERY)] for i in range(count)],
        "no sliding window": not config["sliding_window"],
        "local rotary embeddings of another base than 10,000": (near["rope_type"], near["rope_theta"])
        != ("default", _LOCAL_BASE),
    }
    return [what for what, is_so in odd.items() if is_so]
