from pathlib import Path

import pytest

from agent.serving.vllm.cpu_features import serving_dtype


@pytest.mark.parametrize(
    ("cpuinfo", "dtype"),
    [
        ("flags\t\t: fpu sse2 avx2 fma\n", "float32"),
        ("flags\t\t: fpu avx2 avx512f avx512bw\n", "float32"),
        ("flags\t\t: fpu avx2 avx512f avx512_bf16\n", "bfloat16"),
        ("Features\t: fp asimd i8mm bf16\n", "bfloat16"),
        ("model name\t: bf16 in its name only\nflags\t\t: fpu\n", "float32"),
    ],
)
def test_bfloat16_is_served_where_it_is_native(tmp_path: Path, cpuinfo: str, dtype: str) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(cpuinfo)
    assert serving_dtype(file) == dtype


def test_an_unknown_processor_serves_the_models_own_format(tmp_path: Path) -> None:
    assert serving_dtype(tmp_path / "missing") == "bfloat16"
