"""Folders of models of known families: a tokenizer with a token per byte and the family's markers, and a chat template
of the family's shape. No weights."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

_TOOLS = "{% if tools %}{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}{% endif %}"
_CHATML_TURN = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
_CHATML_PROMPT = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
_JSON_CALL = '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}'

CHATML = f"{{% for m in messages %}}{_CHATML_TURN}{{% endfor %}}{_CHATML_PROMPT}"
"""Turns, no tools: SmolLM2, and many others."""

QWEN3 = (
    "{% if tools %}<|im_start|>system\n# Tools\n<tools>\n" + _TOOLS + "</tools><|im_end|>\n{% endif %}"
    "{% for m in messages %}"
    "{% if m.role == 'tool' %}<|im_start|>user\n<tool_response>\n{{ m.content }}\n</tool_response><|im_end|>\n"
    "{% elif m.role == 'assistant' %}<|im_start|>assistant\n"
    "{% if loop.last %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{% if not loop.first or m.content %}{{ '\\n' }}{% endif %}"
    "{{ '<tool_call>\\n' }}" + _JSON_CALL + "{{ '\\n</tool_call>' }}{% endfor %}<|im_end|>\n"
    "{% else %}" + _CHATML_TURN + "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}"
    "{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{% endif %}"
)

QWEN_CODER = (
    "{% if tools %}<|im_start|>system\n" + _TOOLS + "<|im_end|>\n{% endif %}{% for m in messages %}"
    "{% if m.tool_calls %}<|im_start|>assistant\n{% for c in m.tool_calls %}"
    "<tool_call>\n<function={{ c.function.name }}>\n"
    "{% for k, v in c.function.arguments.items() %}<parameter={{ k }}>\n{{ v }}\n</parameter>\n{% endfor %}"
    "</function>\n</tool_call>{% endfor %}<|im_end|>\n{% else %}"
    + _CHATML_TURN
    + "{% endif %}{% endfor %}"
    + _CHATML_PROMPT
)

HERMES3 = (
    "<|im_start|>system\n<tools>{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}</tools><|im_end|>\n"
    "{% for m in messages %}"
    "{% if m.role == 'tool' %}{% if loop.previtem and loop.previtem.role != 'tool' %}<|im_start|>tool\n{% endif %}"
    "<tool_response>\n{{ m.content }}"
    "{% if loop.last %}{{ '\\n</tool_response>' }}{% else %}{{ '\\n</tool_response>\\n' }}{% endif %}"
    "{% if loop.last or loop.nextitem.role != 'tool' %}<|im_end|>{% endif %}"
    "{% elif m.tool_calls %}<|im_start|>assistant\n{% for c in m.tool_calls %}{% if not loop.first %}{{ '\\n' }}"
    "{% endif %}{{ '<tool_call>\\n' }}" + _JSON_CALL + "{{ '\\n</tool_call>' }}{% endfor %}<|im_end|>\n"
    "{% else %}" + _CHATML_TURN + "{% endif %}{% endfor %}" + _CHATML_PROMPT
)
"""For conversations with tools alone, beside a plain template; a result that is the last turn lacks a line break."""

SMOLLM3 = (
    '<|im_start|>system\n{% if tools %}Call as <tool_call>{"name": ..., "arguments": ...}</tool_call>\n'
    + _TOOLS
    + "{% endif %}<|im_end|>\n{% for m in messages %}"
    "{% if m.role == 'tool' %}<|im_start|>user\n{{ m.content }}<|im_end|>\n"
    "{% elif m.role == 'assistant' %}<|im_start|>assistant\n{% generation %}<think>\n\n</think>\n"
    "{{ m.content.lstrip('\\n') }}<|im_end|>{% endgeneration %}\n"
    "{% else %}" + _CHATML_TURN + "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if not enable_thinking %}<think>\n\n</think>\n{% endif %}{% endif %}"
)

LLAMA3 = (
    "{{ bos_token }}{% if tools %}<|start_header_id|>system<|end_header_id|>\n\n" + _TOOLS + "<|eot_id|>{% endif %}"
    "{% for m in messages %}{% if m.tool_calls %}"
    "{% if m.tool_calls | length != 1 %}{{ raise_exception('only single tool-calls') }}{% endif %}"
    "{% set c = m.tool_calls[0] %}<|start_header_id|>assistant<|end_header_id|>\n\n"
    '{"name": "{{ c.function.name }}", "parameters": {{ c.function.arguments | tojson }}}<|eot_id|>'
    "{% elif m.role == 'tool' %}<|start_header_id|>ipython<|end_header_id|>\n\n{{ m.content | tojson }}<|eot_id|>"
    "{% else %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)

MISTRAL = (
    "{{ bos_token }}{% set users = messages | selectattr('role', 'equalto', 'user') | list %}"
    "{% for m in messages %}{% if m.role == 'user' %}"
    "{% if tools and m == users[-1] %}[AVAILABLE_TOOLS] {{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}"
    "[INST] {{ m.content }}[/INST]"
    "{% elif m.tool_calls %}[TOOL_CALLS] [{% for c in m.tool_calls %}"
    "{% if c.id | length != 9 %}{{ raise_exception('ids have length 9') }}{% endif %}"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}, "id": "{{ c.id }}"}'
    "{% if not loop.last %}, {% endif %}{% endfor %}]{{ eos_token }}"
    "{% elif m.role == 'assistant' %} {{ m.content }}{{ eos_token }}"
    '{% elif m.role == \'tool\' %}[TOOL_RESULTS] {"content": {{ m.content }}, "call_id": "{{ m.tool_call_id }}"}'
    "[/TOOL_RESULTS]{% else %}{{ raise_exception('no such role') }}{% endif %}{% endfor %}"
)

NEMO = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set system = messages[0].content %}"
    "{% set turns = messages[1:] %}{% else %}{% set turns = messages %}{% endif %}"
    "{% set users = turns | selectattr('role', 'equalto', 'user') | list %}{% set ns = namespace(n=0) %}"
    "{% for m in turns %}{% if m.role != 'tool' and not m.tool_calls %}"
    "{% if (m.role == 'user') != (ns.n % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% set ns.n = ns.n + 1 %}{% endif %}{% endfor %}"
    "{% for m in turns %}{% if m.role == 'user' %}"
    "{% if tools and m == users[-1] %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}"
    "{% if loop.last and system is defined %}[INST]{{ system + '\\n\\n' + m.content }}[/INST]"
    "{% else %}[INST]{{ m.content }}[/INST]{% endif %}"
    "{% elif m.tool_calls %}[TOOL_CALLS][{% for c in m.tool_calls %}"
    "{% if c.id | length != 9 %}{{ raise_exception('ids have length 9') }}{% endif %}"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}, "id": "{{ c.id }}"}'
    "{% if not loop.last %}, {% endif %}{% endfor %}]{{ eos_token }}"
    "{% elif m.role == 'assistant' %}{{ m.content + eos_token }}"
    '{% elif m.role == \'tool\' %}[TOOL_RESULTS]{"content": {{ m.content }}, "call_id": "{{ m.tool_call_id }}"}'
    "[/TOOL_RESULTS]{% else %}{{ raise_exception('no such role') }}{% endif %}{% endfor %}"
)
"""The system message is written only while a turn of the user is the last one."""

GRANITE = (
    "{% if tools %}<|start_of_role|>tools<|end_of_role|>Write <|tool_call|> and a list.\n"
    + _TOOLS
    + "<|end_of_text|>\n{% endif %}{% for m in messages %}"
    "<|start_of_role|>{{ m.role }}<|end_of_role|>{{ m.content }}<|end_of_text|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}"
)

XLAM = (
    "{% if tools %}<|im_start|>system\n" + _TOOLS + "<|im_end|>\n{% endif %}{% for m in messages %}"
    "{% if m.tool_calls %}<|im_start|>assistant\n[{% for c in m.tool_calls %}"
    + _JSON_CALL
    + "{% if not loop.last %}, {% endif %}{% endfor %}]<|im_end|>\n{% else %}"
    + _CHATML_TURN
    + "{% endif %}{% endfor %}"
    + _CHATML_PROMPT
)

FUNCTION_GEMMA = (
    "{{ bos_token }}{% set ns = namespace(before='') %}"
    "{% if tools %}<start_of_turn>developer\n" + _TOOLS + "<end_of_turn>\n{% endif %}{% for m in messages %}"
    "{% if m.role == 'tool' %}{% if not m.name %}{{ raise_exception(\"'name' must be provided\") }}{% endif %}"
    "{% if ns.before == 'result' %}<start_function_response>{% endif %}"
    "response:{{ m.name }}{value:<escape>{{ m.content }}<escape>}<end_function_response>{% set ns.before = 'result' %}"
    "{% else %}{% if ns.before != 'result' %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{% endif %}{{ m.content | trim }}{% if m.tool_calls %}{% for c in m.tool_calls %}"
    "<start_function_call>call:{{ c.function.name + '{' }}"
    "{% for k, v in c.function.arguments.items() %}{{ k }}:<escape>{{ v }}<escape>{% if not loop.last %},{% endif %}"
    "{% endfor %}{{ '}' }}<end_function_call>{% endfor %}<start_function_response>{% set ns.before = 'call' %}"
    "{% else %}<end_of_turn>\n{% set ns.before = '' %}{% endif %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt and ns.before != 'result' %}<start_of_turn>model\n{% endif %}"
)
"""Results need a name, and a call's turn ends where its result begins."""

GEMMA3 = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)

PHI = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% else %}{{ eos_token }}{% endif %}"
)

FUNCTOOLS = "{% if tools %}<|system|>Write functools[...].\n" + _TOOLS + "<|end|>{% endif %}" + PHI

UNKNOWN = (
    "{% if tools %}<|im_start|>system\n"
    + _TOOLS
    + "<|im_end|>\n{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{{ m.content }}{% for c in m.tool_calls or [] %}@@{{ c.function.name }}({{ c.function.arguments | tojson }})"
    "{% endfor %}<|im_end|>\n{% endfor %}" + _CHATML_PROMPT
)

_IM = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
_HEADERS = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
)
_GEMMA = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")
_INST = ("<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[AVAILABLE_TOOLS]",
         "[/AVAILABLE_TOOLS]")  # fmt: skip
_ROLES = ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>", "<|tool_call|>")
_CALLS = ("<start_function_call>", "<end_function_call>", "<escape>", "<start_function_response>")


@dataclass(frozen=True)
class Family:
    """What a model folder says. ``eos`` are the texts of generation_config's ``eos_token_id``. ``plain``: the template
    named ``default``, beside which ``template`` is named ``tool_use``."""

    tokens: tuple[str, ...]
    template: str | None = None
    plain: str | None = None
    bos: str = ""
    adds_bos: bool = False
    eos_token: str = ""
    eos: tuple[str, ...] = ()
    generation: dict[str, Any] = field(default_factory=dict)


FAMILIES = {
    "chatml": Family(_IM, CHATML, bos="<|im_start|>", eos_token="<|im_end|>", eos=("<|im_end|>",)),
    "qwen3": Family(
        (*_IM, "<tool_call>", "</tool_call>"), QWEN3, eos_token="<|im_end|>", eos=("<|im_end|>", "<|endoftext|>"),
        generation={"repetition_penalty": 1.05},
    ),
    "qwen-coder": Family(_IM, QWEN_CODER, eos_token="<|im_end|>"),
    "hermes3": Family(
        (*_IM, "<tool_call>", "</tool_call>"), HERMES3, plain=CHATML, eos_token="<|im_end|>", eos=("<|im_end|>",),
    ),
    "smollm3": Family(_IM, SMOLLM3, eos_token="<|im_end|>"),
    "llama3": Family(_HEADERS, LLAMA3, bos="<|begin_of_text|>", adds_bos=True, eos_token="<|eot_id|>"),
    "mistral": Family(_INST, MISTRAL, bos="<s>", adds_bos=True, eos_token="</s>"),
    "nemo": Family(_INST, NEMO, bos="<s>", adds_bos=True, eos_token="</s>"),
    "granite": Family(_ROLES, GRANITE, eos_token="<|end_of_text|>"),
    "xlam": Family(_IM, XLAM, eos_token="<|im_end|>"),
    "functiongemma": Family(
        (*_GEMMA, *_CALLS), FUNCTION_GEMMA, bos="<bos>", adds_bos=True, eos_token="<eos>",
        eos=("<eos>", "<start_function_response>"),
    ),
    "gemma3": Family(_GEMMA, GEMMA3, bos="<bos>", adds_bos=True, eos_token="<eos>", eos=("<eos>", "<end_of_turn>")),
    "phi": Family(("<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"), PHI, eos_token="<|endoftext|>"),
    "functools": Family(("<|user|>", "<|end|>", "<|endoftext|>"), FUNCTOOLS, eos_token="<|endoftext|>"),
    "gemma-base": Family(_GEMMA, bos="<bos>", eos_token="<eos>", eos=("<eos>",), adds_bos=True),
    "llama-base": Family(_HEADERS, bos="<|begin_of_text|>", adds_bos=True, eos_token="<|end_of_text|>"),
    "chatml-base": Family(_IM, eos_token="<|endoftext|>", eos=("<|endoftext|>",)),
    "plain-base": Family(("<|endoftext|>",), eos_token="<|endoftext|>"),
    "unknown": Family(_IM, UNKNOWN, eos_token="<|im_end|>"),
}  # fmt: skip


def write_family(folder: Path, name: str) -> Path:
    """Write the files of the family ``name`` to ``folder``."""
    family = FAMILIES[name]
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(family)
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"bos_token": family.bos, "eos_token": family.eos_token}
    settings: dict[str, Any] = {key: text for key, text in named.items() if text}
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    if family.plain is not None:
        templates = {"default": family.plain, "tool_use": family.template}
        settings["chat_template"] = [{"name": name, "template": text} for name, text in templates.items()]
    elif family.template is not None:
        (folder / "chat_template.jinja").write_text(family.template)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    ids = [tokenizer.token_to_id(text) for text in family.eos]
    generation = {**({"eos_token_id": ids} if ids else {}), **family.generation}
    (folder / "generation_config.json").write_text(json.dumps(generation))
    return folder


def _tokenizer(family: Family) -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(text, special=True) for text in family.tokens])
    if family.adds_bos:
        bos = (family.bos, made.token_to_id(family.bos))
        made.post_processor = processors.TemplateProcessing(single=f"{family.bos} $A", special_tokens=[bos])
    return made
