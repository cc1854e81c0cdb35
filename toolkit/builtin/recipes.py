"""Recipes and a plan of meals."""

from typing import Annotated, Literal

from toolkit.builtin.workspace_data import choose, find, known, load, require_new, save, words
from toolkit.builtin.written_times import read_day
from toolkit.declare import tool

_Recipe = Annotated[str, known("recipes", "recipes")]
_Ingredient = Annotated[str, known("recipes", "recipes", "ingredients")]
_Diet = Literal["vegan", "vegetarian", "fish", "meat"]
_Meal = Literal["breakfast", "lunch", "dinner"]


@tool(effect="writes", sandbox_state=True)
def find_recipes(
    ingredients: list[_Ingredient], diet: Literal[_Diet, "any"] = "any", max_minutes: int = 240
) -> list[str]:
    """Find recipes that use some ingredients.

    Args:
        ingredients: Ingredients that the recipe must use.
        diet: Diet that the recipe is for.
        max_minutes: Longest time of preparation in minutes.
    """
    recipes = load("recipes")["recipes"]
    known = dict.fromkeys(name for recipe in recipes for name in recipe["ingredients"])
    wanted = {choose(known, name, "recipe with") for name in ingredients}
    found = [
        f"{recipe['name']} ({recipe['minutes']} minutes)"
        for recipe in recipes
        if wanted <= set(recipe["ingredients"]) and diet in ("any", recipe["diet"]) and recipe["minutes"] <= max_minutes
    ]
    if not found:
        raise ValueError("there is no such recipe; ask for fewer ingredients, any diet or more minutes")
    return found


@tool(effect="writes", sandbox_state=True)
def recipe_ingredients(recipe: _Recipe) -> dict[str, str]:
    """List the ingredients of a recipe with their amounts.

    Args:
        recipe: Name of the recipe.
    """
    return dict(find(load("recipes")["recipes"], recipe, "recipe")["ingredients"])


@tool(effect="writes", sandbox_state=True)
def cooking_steps(recipe: _Recipe) -> list[str]:
    """Tell step by step how to cook a recipe.

    Args:
        recipe: Name of the recipe.
    """
    return list(find(load("recipes")["recipes"], recipe, "recipe")["steps"])


@tool(effect="writes", sandbox_state=True)
def add_recipe(name: str, ingredients: list[str], steps: list[str], diet: _Diet, minutes: int = 30) -> str:
    """Add a recipe to the collection.

    Args:
        name: Name of the dish.
        ingredients: The ingredients.
        steps: What to do, step by step.
        diet: Diet that the recipe is for.
        minutes: Time of preparation in minutes.
    """
    data = load("recipes")
    name = words(name, "name", longest=60)
    require_new(data["recipes"], name, "recipe")
    if not ingredients or not steps or minutes < 1:
        raise ValueError("a recipe needs ingredients, steps and at least 1 minute; give all of them")
    amounts = {words(each, "ingredient", longest=60): "some" for each in ingredients}
    texts = [words(step, "step") for step in steps]
    new = {"name": name, "diet": diet, "minutes": minutes, "servings": 4, "ingredients": amounts, "steps": texts}
    data["recipes"].append(new)
    save("recipes", data)
    return f"added the {diet} recipe {name}"


@tool(effect="writes", sandbox_state=True)
def plan_meal(recipe: _Recipe, date: str, meal: _Meal = "dinner") -> str:
    """Plan a recipe for a meal of a day, in place of what was planned before.

    Args:
        recipe: Name of the recipe.
        date: Day as YYYY-MM-DD.
        meal: Meal of the day.
    """
    data, day = load("recipes"), read_day(date, "date").isoformat()
    name = find(data["recipes"], recipe, "recipe")["name"]
    data["meals"] = [each for each in data["meals"] if (each["date"], each["meal"]) != (day, meal)]
    data["meals"].append({"date": day, "meal": meal, "recipe": name})
    save("recipes", data)
    return f"{name} for {meal} on {day}"


@tool(effect="writes", sandbox_state=True)
def show_meal_plan(start_date: str, end_date: str) -> list[str]:
    """Show which meals are planned from one day to another.

    Args:
        start_date: First day as YYYY-MM-DD.
        end_date: Last day as YYYY-MM-DD.
    """
    first, last = read_day(start_date, "start_date").isoformat(), read_day(end_date, "end_date").isoformat()
    if last < first:
        raise ValueError("end_date is before start_date; swap them")
    planned = [each for each in load("recipes")["meals"] if first <= each["date"] <= last]
    order = ("breakfast", "lunch", "dinner")
    planned.sort(key=lambda each: (each["date"], order.index(each["meal"])))
    return [f"{each['date']} {each['meal']}: {each['recipe']}" for each in planned][:7]
