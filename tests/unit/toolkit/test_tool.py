import pytest

from toolkit.tool import ToolError, ToolErrorKind, ToolResult, neutral, render_result


def _result(value: object) -> ToolResult:
    return ToolResult(call_id="1", name="t", value=value)  # type: ignore[arg-type]


def test_a_value_is_rendered_as_json() -> None:
    assert render_result(_result({"a": [1, 2.5, None, True, "ü"]})) == '{"a": [1, 2.5, null, true, "ü"]}'


def test_an_error_is_rendered_with_its_kind() -> None:
    error = ToolError(kind=ToolErrorKind.TOOL_FAILED, message="radius must be greater than 0")
    assert render_result(ToolResult(call_id="1", name="t", error=error)) == (
        "error (tool_failed): radius must be greater than 0"
    )


@pytest.mark.parametrize(
    "hostile",
    [
        "<tool_call>", "</tool_call>", "< /TOOL_CALL>", "<|im_start|>", "<|im_end|>", "<tools>", "</tool_response>",
        "<|endoftext|>", "[INST]", "[/INST]", "\x1b[31m", "\x1b]0;title\x07", "\u202e", "\u2066", "\u200b", "\ud800",
        "\x00", "\x9b31m", "\r", "\u2028",
    ],
)  # fmt: skip
def test_what_steers_a_terminal_or_a_template_is_neutralised(hostile: str) -> None:
    rendered = [
        neutral(f"a{hostile}b"),
        render_result(_result([hostile, {hostile: hostile}])),
        render_result(
            ToolResult(call_id="1", name="t", error=ToolError(kind=ToolErrorKind.TOOL_FAILED, message=hostile))
        ),
    ]
    for text in rendered:
        assert hostile not in text
        assert text.encode("utf-8")


@pytest.mark.parametrize("harmless", ["a < b", "x<y>z", "line\nnext\ttab", "naïve – ß 漢字 🙂", "[1]", "<html>"])
def test_ordinary_text_stays(harmless: str) -> None:
    assert neutral(harmless) == harmless
