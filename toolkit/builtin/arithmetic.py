"""Arithmetic: expressions, percentages, rounding."""

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

from toolkit.builtin.rounding import neat
from toolkit.declare import tool

_MAX_LENGTH = 200
_MAX_POWER = 1000
_BINARY: dict[type[ast.operator], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: dict[type[ast.unaryop], Callable[..., Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}


@tool(effect="pure")
def calculate(expression: str) -> float:
    """Work out an arithmetic expression with + - * / % ^ and brackets.

    Args:
        expression: The expression, for example "12 * (7 + 3)".
    """
    if len(expression) > _MAX_LENGTH:
        raise ValueError(f"the expression is longer than {_MAX_LENGTH} characters; split it")
    text = expression.replace("^", "**").replace("×", "*").replace("÷", "/").replace("−", "-").replace(",", "")
    try:
        return neat(_value(ast.parse(text.strip(), mode="eval").body))
    except SyntaxError:
        raise ValueError(f"{expression!r} is no arithmetic expression; write for example 12 * (7 + 3)") from None
    except ZeroDivisionError:
        raise ValueError("division by zero; change the divisor") from None
    except OverflowError:
        raise ValueError("the result is too large; use smaller numbers") from None


def _value(node: ast.expr) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        return node.value
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        return _UNARY[type(node.op)](_value(node.operand))
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Pow):
            if abs(right) > _MAX_POWER or abs(left) > 1e100:
                raise ValueError(f"the power is too large; use an exponent of at most {_MAX_POWER}")
            power = left**right
            if isinstance(power, complex):
                raise ValueError(  # noqa: TRY004 - the model's mistake, not a wrong type
                    "the root of a negative number is not real; use a positive number"
                )
            return power
        if type(node.op) in _BINARY:
            return _BINARY[type(node.op)](left, right)
    raise ValueError("only numbers, brackets and + - * / % ^ are allowed in an expression")


@tool(effect="pure")
def percentage_of(percent: float, value: float) -> float:
    """Find a percentage of a number, for example 15 percent of 80.

    Args:
        percent: The percentage.
        value: The number it is taken of.
    """
    return neat(percent * value / 100)


@tool(effect="pure")
def percentage_change(old_value: float, new_value: float) -> float:
    """Find by how many percent a value rose or fell.

    Args:
        old_value: The value before.
        new_value: The value after.
    """
    if old_value == 0:
        raise ValueError("old_value is 0, so there is no percentage; use another value")
    return neat((new_value - old_value) / abs(old_value) * 100)


@tool(effect="pure")
def square_root(value: float) -> float:
    """Find the square root of a number.

    Args:
        value: The number, 0 or more.
    """
    if value < 0:
        raise ValueError("value is negative; use 0 or more")
    return neat(math.sqrt(value))


@tool(effect="pure")
def round_number(value: float, decimals: int) -> float:
    """Round a number to some decimal places.

    Args:
        value: The number.
        decimals: How many digits to keep after the point.
    """
    if not 0 <= decimals <= 15:
        raise ValueError("decimals must be between 0 and 15")
    return neat(round(value, decimals), 15)
