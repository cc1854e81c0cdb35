"""A small tokenizer of Gemma's kind: pieces, bytes for what no piece has, runs of line breaks found before merges."""

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
BREAKS = ("\n\n", "\n\n\n")
_BLANKS = ("▁▁", "▁▁▁", "▁▁▁▁")
_CORPUS = (
    "the parcel takes nine days to Norway and three days to Japan",
    "add three and two, then call the tool that adds the numbers of days",
    "no tool fits the request; tell the person that nothing was called",
    "haha hahaha hahahaha banana bananas abababab aaaa aaaaa aaaaaa ---- ------ ==== ======",
    "what is the shipping price from Oslo to Kyoto in Japanese yen, and when does it arrive there",
)


def pieces_tokenizer() -> Tokenizer:
    """Return it: every pair of pieces that joins to a piece is a merge, and later pieces have later merges."""
    learned = Tokenizer(models.BPE())
    learned.normalizer = normalizers.Replace(" ", "▁")  # pyright: ignore
    learned.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")  # pyright: ignore
    learned.train_from_iterator(_CORPUS * 3, trainers.BpeTrainer(vocab_size=260, show_progress=False))
    texts = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *BREAKS, *_BLANKS, "\n"]
    texts += [text for text, _ in sorted(learned.get_vocab().items(), key=lambda entry: entry[1])]
    vocab = {text: number for number, text in enumerate(texts)}
    merges = [
        (text[:place], text[place:])
        for text in texts
        for place in range(len(text) - 1, 0, -1)
        if text[:place] in vocab and text[place:] in vocab
    ]
    made = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Replace(" ", "▁")  # pyright: ignore
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")  # pyright: ignore
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])  # pyright: ignore
    made.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    made.add_tokens([AddedToken(text, special=False, normalized=False) for text in BREAKS])
    bos = ("<bos>", vocab["<bos>"])
    made.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[bos])  # pyright: ignore
    return made


def pieces_content() -> dict[str, Any]:
    """Return what its tokenizer.json holds."""
    return json.loads(pieces_tokenizer().to_str())


def write_pieces(folder: Path) -> Tokenizer:
    """Give the model in ``folder``, of the family ``gemma3``, this tokenizer and return it."""
    tokenizer = pieces_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = [tokenizer.token_to_id(text) for text in ("<eos>", "<end_of_turn>")]
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ids}))
    return tokenizer
