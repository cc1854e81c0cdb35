"""Makes random LoRA adapters with PEFT and writes down its log-probabilities of a few texts; its own process.

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
    found = {"base": {text: logprobs(model, ids) for text, ids in texts.items()}}
    config = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear")
    adapted = get_peft_model(model, config)
    for seed, name in enumerate("abc"):
        torch.manual_seed(seed)
        for parameter, weights in adapted.named_parameters():
            if "lora_" in parameter:
                torch.nn.init.normal_(weights, std=0.04)
        adapted.save_pretrained(out / name)
        # vLLM holds adapters in the model's precision
        for parameter, weights in adapted.named_parameters():
            if "lora_" in parameter:
                weights.data = weights.data.bfloat16()
        adapted.eval()
        found[name] = {text: logprobs(adapted, ids) for text, ids in texts.items()}
    (out / "forward.json").write_text(json.dumps({"texts": texts, "logprobs": found}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
