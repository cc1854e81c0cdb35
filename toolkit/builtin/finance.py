"""Money: prices, tips, interest, loans."""

from toolkit.builtin.rounding import money
from toolkit.declare import tool


def _not_negative(**amounts: float) -> None:
    for name, amount in amounts.items():
        if amount < 0:
            raise ValueError(f"{name} must not be negative")


@tool(effect="pure")
def discounted_price(price: float, discount_percent: float) -> float:
    """Find the price after a discount.

    Args:
        price: The price before.
        discount_percent: The discount in percent.
    """
    _not_negative(price=price)
    if not 0 <= discount_percent <= 100:
        raise ValueError("discount_percent must be between 0 and 100")
    return money(price * (1 - discount_percent / 100))


@tool(effect="pure")
def add_sales_tax(price: float, tax_percent: float) -> float:
    """Find the price with sales tax (VAT) added.

    Args:
        price: The price before tax.
        tax_percent: The tax in percent.
    """
    _not_negative(price=price, tax_percent=tax_percent)
    return money(price * (1 + tax_percent / 100))


@tool(effect="pure")
def split_bill(total: float, people: int, tip_percent: float = 0) -> float:
    """Find what each person pays when a bill is shared.

    Args:
        total: The amount of the bill.
        people: How many people share it.
        tip_percent: A tip in percent to add.
    """
    _not_negative(total=total, tip_percent=tip_percent)
    if people < 1:
        raise ValueError("people must be 1 or more")
    return money(total * (1 + tip_percent / 100) / people)


@tool(effect="pure")
def compound_interest(principal: float, annual_rate: float, years: float) -> float:
    """Find what savings grow to with interest compounded every year.

    Args:
        principal: The amount at the start.
        annual_rate: The interest per year in percent.
        years: For how many years.
    """
    _not_negative(principal=principal, annual_rate=annual_rate, years=years)
    try:
        return money(principal * (1 + annual_rate / 100) ** years)
    except OverflowError:
        raise ValueError("the amount is too large; use smaller values") from None


@tool(effect="pure")
def monthly_loan_payment(amount: float, annual_rate: float, years: float) -> float:
    """Find the monthly payment of a loan or mortgage.

    Args:
        amount: The amount borrowed.
        annual_rate: The interest per year in percent.
        years: In how many years it is paid back.
    """
    _not_negative(amount=amount, annual_rate=annual_rate)
    months = round(years * 12)
    if not 1 <= months <= 1200:
        raise ValueError("years must be between 1 month (0.0834) and 100 years")
    rate = annual_rate / 1200
    return money(amount / months if rate == 0 else amount * rate / (1 - (1 + rate) ** -months))
