"""Makes random LoRA adapters with PEFT and writes down its log-probabilities of a few texts; its own process.

Each is computed twice with the same weights, in bfloat16 and in single precision: how far these two are apart is what
rounding to bfloat16 amounts to.

``random_adapters.py MODEL_FOLDER OUT_FOLDER``
"""

import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

TEXTS = (
    "The capital of France is Paris, and the capital of Germany is Berlin. Both cities lie on rivers.",
    "To make bread you need flour, water, salt and yeast. Mix them, let the dough rise, and bake it for 40 minutes.",
    "def add(a, b):\n    return a + b\n\nprint(add(2, 3))\n",
)


def logprobs(model: torch.nn.Module, ids: list[int]) -> list[float]:
    """Of each token but the first, given those before it."""
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, :-1].float()
    return torch.log_softmax(logits, -1)[range(len(ids) - 1), ids[1:]].tolist()


def main(model_folder: str, out: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    texts = {text: tokenizer.encode(text, add_special_tokens=False) for text in TEXTS}
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.bfloat16)
    found: dict[str, dict[str, dict[str, list[float]]]] = {"bfloat16": {}, "float32": {}}

    def write_down(name: str, forward: torch.nn.Module) -> None:
        for dtype, of_dtype in found.items():
            forward.to(getattr(torch, dtype))
            of_dtype[name] = {text: logprobs(forward, ids) for text, ids in texts.items()}
        forward.to(torch.bfloat16)

    write_down("base", model.eval())
    config = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear")
    adapted = get_peft_model(model, config, autocast_adapter_dtype=False).eval()
    for seed, name in enumerate("abc"):
        torch.manual_seed(seed)
        for parameter, weights in adapted.named_parameters():
            if "lora_" in parameter:
                torch.nn.init.normal_(weights, std=0.045)
        adapted.save_pretrained(out / name)
        write_down(name, adapted)
    (out / "forward.json").write_text(json.dumps({"texts": texts, "logprobs": found}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
