"""Whole numbers: primes, divisors, factorials, numerals, bases."""

import math

from toolkit.declare import tool

_LARGEST = 10**14
_ROMAN = (
    (1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"),
    (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"),
)  # fmt: skip
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@tool(effect="pure")
def is_prime(number: int) -> bool:
    """Check whether a whole number is a prime number.

    Args:
        number: The number.
    """
    return number > 1 and prime_factors(number) == [number]


@tool(effect="pure")
def prime_factors(number: int) -> list[int]:
    """Split a whole number into its prime factors.

    Args:
        number: The number, 2 or more.
    """
    if not 2 <= number <= _LARGEST:
        raise ValueError(f"number must be between 2 and {_LARGEST}")
    factors: list[int] = []
    divisor = 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1 if divisor == 2 else 2
    return [*factors, number] if number > 1 else factors


@tool(effect="pure")
def greatest_common_divisor(first: int, second: int) -> int:
    """Find the greatest common divisor (GCD) of two whole numbers.

    Args:
        first: One number.
        second: The other number.
    """
    return math.gcd(first, second)


@tool(effect="pure")
def least_common_multiple(first: int, second: int) -> int:
    """Find the least common multiple (LCM) of two whole numbers.

    Args:
        first: One number.
        second: The other number.
    """
    return math.lcm(first, second)


@tool(effect="pure")
def factorial(number: int) -> int:
    """Find the factorial of a whole number, for example 5! = 120.

    Args:
        number: The number, from 0 to 200.
    """
    if not 0 <= number <= 200:
        raise ValueError("number must be between 0 and 200")
    return math.factorial(number)


@tool(effect="pure")
def fibonacci_number(position: int) -> int:
    """Find the Fibonacci number at a position; position 1 and 2 are both 1.

    Args:
        position: The position, from 1 to 500.
    """
    if not 1 <= position <= 500:
        raise ValueError("position must be between 1 and 500")
    before, current = 0, 1
    for _ in range(position - 1):
        before, current = current, before + current
    return current


@tool(effect="pure")
def to_roman_numeral(number: int) -> str:
    """Write a whole number as a Roman numeral.

    Args:
        number: The number, from 1 to 3999.
    """
    if not 1 <= number <= 3999:
        raise ValueError("number must be between 1 and 3999")
    written = ""
    for value, letters in _ROMAN:
        written += letters * (number // value)
        number %= value
    return written


@tool(effect="pure")
def convert_number_base(digits: str, from_base: int, to_base: int) -> str:
    """Write a number in another base, for example binary (2), decimal (10) or hexadecimal (16).

    Args:
        digits: The digits of the number, for example "1010" or "ff".
        from_base: The base it is written in, 2 to 36.
        to_base: The base wanted, 2 to 36.
    """
    if not (2 <= from_base <= 36 and 2 <= to_base <= 36):
        raise ValueError("from_base and to_base must be between 2 and 36")
    if len(digits) > 200:
        raise ValueError("digits is too long; use at most 200")
    try:
        value = int(digits.strip(), from_base)
    except ValueError:
        raise ValueError(f"{digits!r} is no number in base {from_base}; correct digits or from_base") from None
    sign, value = "-" if value < 0 else "", abs(value)
    written = ""
    while value:
        value, digit = divmod(value, to_base)
        written = _DIGITS[digit] + written
    return sign + (written or "0")
