"""Areas, volumes and lengths of simple shapes."""

import math
from typing import Literal

from toolkit.builtin.ranges import positive
from toolkit.builtin.rounding import neat
from toolkit.declare import tool


@tool(effect="pure")
def circle_area(radius: float) -> float:
    """Find the area of a circle.

    Args:
        radius: The radius.
    """
    positive(radius=radius)
    return neat(round(math.pi * radius**2, 6))


@tool(effect="pure")
def circle_circumference(radius: float) -> float:
    """Find the circumference (distance around) of a circle.

    Args:
        radius: The radius.
    """
    positive(radius=radius)
    return neat(round(2 * math.pi * radius, 6))


@tool(effect="pure")
def rectangle_area(width: float, height: float) -> float:
    """Find the area of a rectangle.

    Args:
        width: One side.
        height: The other side.
    """
    positive(width=width, height=height)
    return neat(width * height)


@tool(effect="pure")
def triangle_area(base: float, height: float) -> float:
    """Find the area of a triangle from its base and height.

    Args:
        base: The base.
        height: The height over the base.
    """
    positive(base=base, height=height)
    return neat(base * height / 2)


@tool(effect="pure")
def hypotenuse(first_leg: float, second_leg: float) -> float:
    """Find the longest side (hypotenuse) of a right triangle.

    Args:
        first_leg: One short side.
        second_leg: The other short side.
    """
    positive(first_leg=first_leg, second_leg=second_leg)
    return neat(round(math.hypot(first_leg, second_leg), 6))


@tool(effect="pure")
def sphere_volume(radius: float) -> float:
    """Find the volume of a sphere (ball).

    Args:
        radius: The radius.
    """
    positive(radius=radius)
    return neat(round(4 / 3 * math.pi * radius**3, 6))


@tool(effect="pure")
def cylinder_volume(radius: float, height: float) -> float:
    """Find the volume of a cylinder.

    Args:
        radius: The radius of its base.
        height: Its height.
    """
    positive(radius=radius, height=height)
    return neat(round(math.pi * radius**2 * height, 6))


@tool(effect="pure")
def box_volume(
    length: float, width: float, height: float, unit: Literal["cubic centimeters", "liters"] = "cubic centimeters"
) -> float:
    """Find how much a box or tank holds, from its sides in centimeters.

    Args:
        length: Its length in centimeters.
        width: Its width in centimeters.
        height: Its height in centimeters.
        unit: The unit of the answer.
    """
    positive(length=length, width=width, height=height)
    return neat(length * width * height / (1000 if unit == "liters" else 1))
