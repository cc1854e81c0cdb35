"""Tools of your own. `toolkit list` shows them as the model sees them; every call runs in the sandbox."""

from toolkit.declare import tool


@tool(effect="pure")  # pure, reads or writes; the default is writes, which evolution never executes
def shipping_days(country: str) -> int:
    """Find how many days a parcel takes to a country.

    Args:
        country: Name of the country in English.
    """
    return {"Norway": 3, "Japan": 9}.get(country, 14)
