"""Units of measurement."""

from toolkit.builtin.rounding import neat
from toolkit.declare import tool

_KINDS: dict[str, dict[str, float]] = {
    "length": {
        "meter m metre": 1, "kilometer km kilometre": 1000, "centimeter cm centimetre": 0.01,
        "millimeter mm millimetre": 0.001, "mile mi": 1609.344, "yard yd": 0.9144, "foot ft feet": 0.3048,
        "inch in inches": 0.0254, "nautical_mile nmi": 1852, "light_year ly": 9.4607304725808e15,
    },
    "weight": {
        "kilogram kg kilo": 1, "gram g gramme": 0.001, "milligram mg": 1e-6, "tonne t ton metric_ton": 1000,
        "pound lb lbs": 0.45359237, "ounce oz": 0.028349523125, "stone st": 6.35029318,
    },
    "volume": {
        "liter l litre": 1, "milliliter ml millilitre": 0.001, "cubic_meter m3 m³": 1000, "gallon gal": 3.785411784,
        "quart qt": 0.946352946, "pint pt": 0.473176473, "cup": 0.2365882365, "fluid_ounce fl_oz": 0.0295735295625,
        "tablespoon tbsp": 0.01478676478125, "teaspoon tsp": 0.00492892159375,
    },
    "area": {
        "square_meter m2 m² sqm": 1, "square_kilometer km2 km²": 1e6, "hectare ha": 1e4, "acre": 4046.8564224,
        "square_foot square_feet sqft ft2": 0.09290304, "square_mile mi2": 2589988.110336,
    },
    "speed": {
        "meter_per_second m/s mps": 1, "kilometer_per_hour km/h kmh kph": 1 / 3.6, "mile_per_hour mph": 0.44704,
        "knot kn": 1852 / 3600,
    },
    "time": {
        "second s sec": 1, "millisecond ms": 0.001, "minute min": 60, "hour h hr": 3600, "day d": 86400,
        "week wk": 604800, "year yr": 31557600,
    },
    "data": {
        "byte b": 1, "bit": 0.125, "kilobyte kb": 1e3, "megabyte mb": 1e6, "gigabyte gb": 1e9, "terabyte tb": 1e12,
        "kibibyte kib": 1024, "mebibyte mib": 1024**2, "gibibyte gib": 1024**3,
    },
    "energy": {
        "joule j": 1, "kilojoule kj": 1000, "calorie cal": 4.184, "kilocalorie kcal": 4184, "kilowatt_hour kwh": 3.6e6,
    },
    "pressure": {"pascal pa": 1, "kilopascal kpa": 1000, "bar": 1e5, "atmosphere atm": 101325, "psi": 6894.757293168},
}  # fmt: skip
_UNITS = {
    name: (kind, factor) for kind, units in _KINDS.items() for names, factor in units.items() for name in names.split()
}
_SCALES = {
    "celsius": "c", "c": "c", "centigrade": "c", "fahrenheit": "f", "f": "f", "kelvin": "k", "kelvins": "k", "k": "k",
}  # fmt: skip


def _unit(text: str) -> tuple[str, float]:
    name = text.strip().lower().rstrip(".").replace(" ", "_").replace("-", "_").replace("metres", "meters")
    first, separator, rest = name.partition("_per_")
    candidates = [name, name.removesuffix("s"), first.removesuffix("s") + separator + rest, name.removesuffix("es")]
    candidates += [candidate.replace("metre", "meter").replace("litre", "liter") for candidate in candidates]
    for candidate in candidates:
        if candidate in _UNITS:
            return _UNITS[candidate]
    raise ValueError(
        f"unknown unit {text!r}; use for example kilometers, pounds, liters, acres, mph, hours or megabytes"
    )


@tool(effect="pure")
def convert_unit(value: float, from_unit: str, to_unit: str) -> float:
    """Convert a length, weight, volume, area, speed, duration or data size to another unit.

    Args:
        value: How many of from_unit.
        from_unit: The unit given, for example miles.
        to_unit: The unit wanted, for example kilometers.
    """
    from_kind, from_factor = _unit(from_unit)
    to_kind, to_factor = _unit(to_unit)
    if from_kind != to_kind:
        raise ValueError(f"{from_unit} is a unit of {from_kind} and {to_unit} of {to_kind}; use two of one kind")
    return neat(value * from_factor / to_factor, 8)


@tool(effect="pure")
def convert_temperature(value: float, from_scale: str, to_scale: str) -> float:
    """Convert a temperature between Celsius, Fahrenheit and Kelvin.

    Args:
        value: The temperature in degrees.
        from_scale: The scale given: Celsius, Fahrenheit or Kelvin.
        to_scale: The scale wanted: Celsius, Fahrenheit or Kelvin.
    """
    scales = []
    for scale in (from_scale, to_scale):
        name = scale.strip().lower().removeprefix("degrees ").removeprefix("°")
        if name not in _SCALES:
            raise ValueError(f"unknown scale {scale!r}; use Celsius, Fahrenheit or Kelvin")
        scales.append(_SCALES[name])
    celsius = {"c": value, "f": (value - 32) * 5 / 9, "k": value - 273.15}[scales[0]]
    if celsius < -273.15 - 1e-9:
        raise ValueError("that is below absolute zero; use a higher temperature")
    return neat(round({"c": celsius, "f": celsius * 9 / 5 + 32, "k": celsius + 273.15}[scales[1]], 6))
