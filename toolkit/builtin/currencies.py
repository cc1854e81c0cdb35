"""Currencies at fixed rates that can be changed; the shipped rates are not those of any day."""

from typing import Annotated

from toolkit.builtin.ranges import not_negative, positive
from toolkit.builtin.rounding import money, neat
from toolkit.builtin.workspace_data import Record, choose, known, load, save
from toolkit.declare import Known, tool

_CODES, _NAMES = known("currencies", "currencies", "code"), known("currencies", "currencies", "name")
_Currency = Annotated[str, Known((*_CODES.values, *_NAMES.values))]
_Country = Annotated[str, known("currencies", "currencies", "countries")]


def _currency(currencies: list[Record], text: str) -> Record:
    """Return the currency with that code or name; also in the plural."""
    names = {each[key]: each for each in currencies for key in ("code", "name")}
    singular = text.strip()
    singular = singular.removesuffix("s") if singular.lower() not in map(str.lower, names) else singular
    return names[choose(names, singular, "currency")]


@tool(effect="writes", sandbox_state=True)
def convert_currency(amount: float, from_currency: _Currency, to_currency: _Currency) -> float:
    """Convert an amount of money into another currency.

    Args:
        amount: The amount of money.
        from_currency: Code or name of the currency of the amount, for example USD.
        to_currency: Code or name of the currency wanted, for example Swiss franc.
    """
    not_negative(amount=amount)
    currencies = load("currencies")["currencies"]
    start, end = _currency(currencies, from_currency), _currency(currencies, to_currency)
    return money(amount * end["per_euro"] / start["per_euro"])


@tool(effect="writes", sandbox_state=True)
def exchange_rate(base_currency: _Currency, quote_currency: _Currency) -> float:
    """Tell how much of one currency a unit of another currency buys.

    Args:
        base_currency: Code or name of the currency of the unit.
        quote_currency: Code or name of the currency that is bought.
    """
    currencies = load("currencies")["currencies"]
    base, quote = _currency(currencies, base_currency), _currency(currencies, quote_currency)
    return float(neat(quote["per_euro"] / base["per_euro"], 6))


@tool(effect="writes", sandbox_state=True)
def currency_of_country(country: _Country) -> str:
    """Tell which currency a country uses.

    Args:
        country: Name of the country.
    """
    currencies = {name: each for each in load("currencies")["currencies"] for name in each["countries"]}
    found = currencies[choose(currencies, country, "country")]
    return f"{found['name']} ({found['code']})"


@tool(effect="writes", sandbox_state=True)
def update_exchange_rate(base_currency: _Currency, quote_currency: _Currency, rate: float) -> str:
    """Set the rate by which amounts of one currency are converted into another one.

    Args:
        base_currency: Code or name of a currency.
        quote_currency: Code or name of the currency whose rate changes.
        rate: Units of the second currency for one unit of the first.
    """
    positive(rate=rate)
    data = load("currencies")
    base, quote = (_currency(data["currencies"], text) for text in (base_currency, quote_currency))
    if quote["code"] == "EUR" or base is quote:
        raise ValueError("the euro has no rate of its own; swap the currencies, or name two that differ")
    quote["per_euro"] = float(neat(base["per_euro"] * rate, 8))
    save("currencies", data)
    return f"1 {base['code']} is {neat(rate)} {quote['code']}"
