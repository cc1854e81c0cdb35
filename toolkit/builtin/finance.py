"""Money: prices, tips, interest, loans."""

from collections.abc import Callable

from toolkit.builtin.ranges import fraction, not_negative
from toolkit.builtin.rounding import money
from toolkit.declare import tool


def _amount(work: Callable[[], float]) -> float:
    try:
        return money(work())
    except OverflowError:
        raise ValueError("the amount is too large; use smaller values") from None


@tool(effect="pure")
def discounted_price(price: float, discount_percent: float) -> float:
    """Find the price after a discount.

    Args:
        price: The price before.
        discount_percent: The discount in percent.
    """
    not_negative(price=price)
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
    not_negative(price=price, tax_percent=tax_percent)
    return money(price * (1 + tax_percent / 100))


@tool(effect="pure")
def split_bill(total: float, people: int, tip_percent: float = 0) -> float:
    """Find what each person pays when a bill is shared.

    Args:
        total: The amount of the bill.
        people: How many people share it.
        tip_percent: A tip in percent to add.
    """
    not_negative(total=total, tip_percent=tip_percent)
    if people < 1:
        raise ValueError("people must be 1 or more")
    return money(total * (1 + tip_percent / 100) / people)


@tool(effect="pure")
def compound_interest(principal: float, interest_percent: float, years: float) -> float:
    """Find what savings grow to with interest compounded every year.

    Args:
        principal: The amount at the start.
        interest_percent: The yearly interest in percent.
        years: For how many years.
    """
    not_negative(principal=principal, interest_percent=interest_percent, years=years)
    return _amount(lambda: principal * (1 + interest_percent / 100) ** years)


@tool(effect="pure")
def monthly_loan_payment(amount: float, interest_percent: float, years: float) -> float:
    """Find the monthly payment of a loan or mortgage.

    Args:
        amount: The amount borrowed.
        interest_percent: The yearly interest in percent.
        years: In how many years it is paid back.
    """
    not_negative(amount=amount, interest_percent=interest_percent)
    months = round(years * 12)
    if not 1 <= months <= 1200:
        raise ValueError("years must be between 1 month (0.0834) and 100 years")
    rate = interest_percent / 1200
    return money(amount / months if rate == 0 else amount * rate / (1 - (1 + rate) ** -months))


@tool(effect="pure")
def present_value(future_amount: float, discount_rate: float, years: int) -> float:
    """Find what an amount paid in the future is worth today.

    Args:
        future_amount: The amount that is paid later.
        discount_rate: The yearly discount rate, for example 0.05.
        years: In how many years it is paid.
    """
    not_negative(years=years)
    fraction(discount_rate=discount_rate)
    return _amount(lambda: future_amount / (1 + discount_rate) ** years)


@tool(effect="pure")
def investment_growth(amount: float, growth_rate: float, years: int, compounds_per_year: int = 1) -> float:
    """Predict the value of an investment after some years.

    Args:
        amount: The amount invested.
        growth_rate: The expected yearly growth, for example 0.07.
        years: For how many years.
        compounds_per_year: How often interest is added in a year.
    """
    fraction(growth_rate=growth_rate)
    if not 1 <= compounds_per_year <= 366:
        raise ValueError("compounds_per_year must be between 1 and 366")
    return _amount(lambda: amount * (1 + growth_rate / compounds_per_year) ** (compounds_per_year * years))


@tool(effect="pure")
def sales_commission(sales: float, commission_rate: float, base_pay: float = 0) -> float:
    """Find what a salesperson earns on their sales.

    Args:
        sales: The value of what was sold.
        commission_rate: The share of the sales that is paid.
        base_pay: A fixed amount paid on top.
    """
    not_negative(sales=sales, base_pay=base_pay)
    fraction(commission_rate=commission_rate)
    return money(sales * commission_rate + base_pay)


@tool(effect="pure")
def value_after_depreciation(price: float, depreciation_rate: float, years: int) -> float:
    """Find what a car or machine is still worth after losing value every year.

    Args:
        price: The price when it was new.
        depreciation_rate: The share of its value lost in a year.
        years: How old it is in years.
    """
    not_negative(price=price, years=years)
    fraction(depreciation_rate=depreciation_rate)
    return money(price * (1 - depreciation_rate) ** years)


@tool(effect="pure")
def salary_after_raise(salary: float, raise_rate: float) -> float:
    """Find a salary after a raise.

    Args:
        salary: The salary before.
        raise_rate: The raise as a share of the salary.
    """
    not_negative(salary=salary)
    fraction(raise_rate=raise_rate)
    return money(salary * (1 + raise_rate))
