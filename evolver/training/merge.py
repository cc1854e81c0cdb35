"""``python -m evolver.training.merge MODEL ADAPTER FOLDER``: writes a model with an adapter's weights merged in."""

import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Merge the adapter into the model that the command line names."""
    model, adapter, folder = map(Path, sys.argv[1:])
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base: Any = AutoModelForCausalLM.from_pretrained(model, dtype="auto", local_files_only=True)
    kept = base.dtype
    # In fp32 the sum is rounded once, to the base's own type.
    adapted: Any = PeftModel.from_pretrained(base.to(torch.float32), str(adapter))
    adapted.merge_and_unload().to(kept).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model, local_files_only=True).save_pretrained(folder)
    for weights in folder.glob("*.safetensors"):  # written for their owner alone
        weights.chmod(0o644)


if __name__ == "__main__":
    main()
