"""Orders and stock of a small shop with two branches and a warehouse."""

from typing import Annotated, Literal

from toolkit.builtin.workspace_data import Record, changing, choose, find, known, listed, load, words
from toolkit.builtin.written_times import read_day
from toolkit.declare import tool

_FAMILY = "shop"
_MOST = 1000
Product = Annotated[str, known(_FAMILY, "products")]
Order = Annotated[str, known(_FAMILY, "orders", "number")]
Customer = Annotated[str, known(_FAMILY, "orders", "customer")]
Branch = Literal["Main Street", "Harbour", "Warehouse"]


def _quantity(quantity: int) -> int:
    if not 1 <= quantity <= _MOST:
        raise ValueError(f"quantity must be between 1 and {_MOST}")
    return quantity


def _changeable(order: Record) -> Record:
    if order["state"] in ("shipped", "delivered", "cancelled"):
        raise ValueError(f"order {order['number']} is {order['state']} and cannot be changed")
    return order


@tool(effect="writes", sandbox_state=True)
def check_stock(product: Product, branch: Branch = "Main Street") -> int:
    """Find how many pieces of a product a branch of the shop has.

    Args:
        product: Name of the product.
        branch: The branch, or the warehouse.
    """
    return find(load(_FAMILY)["products"], product, "product")["stock"][branch]


@tool(effect="writes", sandbox_state=True)
def find_products(
    category: Literal["furniture", "lighting", "textiles", "decoration"], max_price: float = 1000
) -> dict[str, float]:
    """List the products of a category that the shop sells, with their prices.

    Args:
        category: Category of products.
        max_price: Highest price.
    """
    of_category = [each for each in load(_FAMILY)["products"] if each["category"] == category]
    found = {each["name"]: each["price"] for each in of_category if each["price"] <= max_price}
    if not found:
        raise ValueError(
            f"no {category} costs {max_price} or less; the cheapest is {min(e['price'] for e in of_category)}"
        )
    return found


@tool(effect="writes", sandbox_state=True)
def place_order(
    customer: str,
    product: Product,
    quantity: int = 1,
    delivery: Literal["pickup", "standard", "express"] = "standard",
    gift_message: str = "",
) -> str:
    """Order a product of the shop for a customer.

    Args:
        customer: Name of the customer.
        product: Name of the product.
        quantity: How many pieces.
        delivery: pickup, standard or express.
        gift_message: Text for the card, if it is a gift.
    """
    new = {"customer": words(customer, "customer"), "quantity": _quantity(quantity), "delivery": delivery}
    with changing(_FAMILY) as data:
        found = find(data["products"], product, "product")
        number = f"A{max(int(each['number'][1:]) for each in data['orders']) + 1}"
        rest = {"address": "", "state": "being packed", "gift_message": gift_message}
        data["orders"].append({"number": number, "product": found["name"], **new, **rest})
    return f"order {number}: {quantity} x {found['name']} for {new['customer']}, {delivery}"


@tool(effect="writes", sandbox_state=True)
def order_status(order_number: Order) -> str:
    """Look up how far an order of the shop is.

    Args:
        order_number: Number of the order, for example A1041.
    """
    order = find(load(_FAMILY)["orders"], order_number, "order", "number")
    return f"{order['quantity']} x {order['product']} for {order['customer']}: {order['state']}"


@tool(effect="writes", sandbox_state=True)
def orders_of_customer(customer: Customer) -> list[str]:
    """List the numbers of the orders that a customer of the shop has placed.

    Args:
        customer: Name of the customer.
    """
    orders = load(_FAMILY)["orders"]
    name = choose((each["customer"] for each in orders), customer, "customer")
    return [each["number"] for each in orders if each["customer"] == name]


@tool(effect="writes", sandbox_state=True)
def change_delivery_address(order_number: Order, street: str, town: str) -> str:
    """Send an order of the shop to another address.

    Args:
        order_number: Number of the order, for example A1041.
        street: Street and house number.
        town: Name of the town.
    """
    address = f"{words(street, 'street')}, {words(town, 'town')}"
    with changing(_FAMILY) as data:
        order = _changeable(find(data["orders"], order_number, "order", "number"))
        order["address"] = address
    return f"order {order['number']} goes to {address}"


@tool(effect="writes", sandbox_state=True)
def cancel_order(order_number: Order, reason: str = "") -> str:
    """Cancel an order of the shop that was not shipped yet.

    Args:
        order_number: Number of the order, for example A1041.
        reason: Reason that the customer gave.
    """
    with changing(_FAMILY) as data:
        order = _changeable(find(data["orders"], order_number, "order", "number"))
        order.update(state="cancelled", reason=reason)
    return f"order {order['number']} of {order['customer']} is cancelled"


@tool(effect="writes", sandbox_state=True)
def return_product(
    order_number: Order, reason: Literal["damaged", "wrong product", "too late", "not needed"], refund: bool = False
) -> str:
    """Record that a customer sends back what was delivered.

    Args:
        order_number: Number of the order, for example A1041.
        reason: Why it comes back.
        refund: Whether the customer wants the money back rather than another piece.
    """
    with changing(_FAMILY) as data:
        order = find(data["orders"], order_number, "order", "number")
        if order["state"] not in ("shipped", "delivered"):
            raise ValueError(f"order {order['number']} is {order['state']}; cancel it instead")
        order.update(state="coming back", reason=reason)
        price = find(data["products"], order["product"], "product")["price"] * order["quantity"]
    return f"{order['product']} comes back ({reason}), " + (f"refund of {price:.2f}" if refund else "exchange")


@tool(effect="writes", sandbox_state=True)
def transfer_stock(product: Product, quantity: int, from_branch: Branch, to_branch: Branch) -> str:
    """Move pieces of a product from one branch of the shop to another.

    Args:
        product: Name of the product.
        quantity: How many pieces.
        from_branch: The branch that gives them away.
        to_branch: The branch that gets them.
    """
    if from_branch == to_branch:
        raise ValueError("from_branch and to_branch are the same; name two")
    with changing(_FAMILY) as data:
        found = find(data["products"], product, "product")
        stock = found["stock"]
        if stock[from_branch] < _quantity(quantity):
            raise ValueError(f"{from_branch} has {stock[from_branch]} of {found['name']}; there is: {_told(stock)}")
        stock[from_branch] -= quantity
        stock[to_branch] += quantity
    return f"{found['name']}: {_told(stock)}"


@tool(effect="writes", sandbox_state=True)
def receive_goods(product: Product, quantity: int, supplier: str, branch: Branch = "Warehouse") -> str:
    """Book pieces of a product that a supplier has delivered to the shop.

    Args:
        product: Name of the product.
        quantity: How many pieces arrived.
        supplier: Name of the company that delivered them.
        branch: Where they arrived.
    """
    name = words(supplier, "supplier")
    with changing(_FAMILY) as data:
        found = find(data["products"], product, "product")
        found["stock"][branch] += _quantity(quantity)
        found["supplier"] = name
    return f"{found['name']} from {name}: {_told(found['stock'])}"


@tool(effect="writes", sandbox_state=True)
def change_price(product: Product, price: float, from_date: str = "") -> str:
    """Set the price of a product of the shop.

    Args:
        product: Name of the product.
        price: The new price.
        from_date: Day from which it holds, as YYYY-MM-DD.
    """
    if not 0 < price < 1_000_000:
        raise ValueError("price must be greater than 0")
    starts = f" from {read_day(from_date, 'from_date')}" if from_date else ""
    with changing(_FAMILY) as data:
        found = find(data["products"], product, "product")
        before, found["price"] = found["price"], price
    return f"{found['name']}: {price:.2f} instead of {before:.2f}{starts}"


def _told(stock: dict[str, int]) -> str:
    return listed([f"{branch} {pieces}" for branch, pieces in stock.items()])
