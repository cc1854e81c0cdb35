"""A shop's support desk: orders, stock and stores of a seller of furniture."""

from itertools import cycle

from benchmarks.clients.desk import Desk, Record, Tables, UnknownRecord

_PRODUCTS = (
    "oak side table", "brass floor lamp", "linen curtain", "walnut bookcase", "wool runner", "ceramic vase",
    "rattan armchair", "steel bar stool", "velvet ottoman", "pine bed frame", "marble coaster", "bamboo shelf",
    "cotton quilt", "glass carafe", "copper kettle", "leather pouf", "cork pinboard", "beech high chair",
    "slate cheese board", "felt storage box", "iron coat rack", "maple desk", "jute doormat", "acacia tray",
)  # fmt: skip
_CUSTOMERS = (
    "Maya Lindqvist", "Theo Abara", "Ines Duarte", "Callum Reyes", "Sofia Brandt", "Kenji Mori", "Leila Haddad",
    "Oscar Nyberg", "Padma Iyengar", "Jonas Feld", "Clara Bianchi", "Tomas Novak", "Aisha Diallo", "Erik Solberg",
    "Nora Quinn", "Mateo Vargas", "Hanna Weiss", "Dmitri Orlov", "Zoe Tremblay", "Rohan Kulkarni", "Freya Holm",
    "Luca Ferri", "Amina Yusuf", "Paul Devereux",
)  # fmt: skip
_CITIES = (
    "Bristol", "Leeds", "Cardiff", "Norwich", "Dundee", "Exeter", "Belfast", "York", "Swansea", "Derby", "Lincoln",
    "Oxford", "Perth", "Chester", "Durham", "Truro", "Bath", "Ely", "Wells", "Ripon",
)  # fmt: skip
_VOUCHERS = (
    "SPRING15", "WELCOME10", "FREESHIP", "LOYAL25", "MOVEIN20", "SUMMER5", "FRIEND12", "NEWNEST", "BULKBUY", "SORRY10",
    "GARDEN8", "WINTER18", "STUDENT7", "BIRTHDAY", "COSY14", "PAYDAY6", "EARLY9", "LASTCALL", "OUTLET30", "VIP40",
)  # fmt: skip


def tables() -> Tables:
    """Return what the shop knows; the same at each call."""
    carriers, states = cycle(("Redline", "Parcelway", "Northpost")), cycle(("packed", "packed", "on its way"))
    orders: list[Record] = [
        {
            "id": f"SO-{4103 + 37 * n}",
            "customer": _CUSTOMERS[n % len(_CUSTOMERS)],
            "product": _PRODUCTS[(5 * n + 3) % len(_PRODUCTS)],
            "paid": round(18.4 + 7.35 * n, 2),
            "status": next(states),
            "carrier": next(carriers),
            "arrives": f"2027-04-{1 + n % 28:02d}",
            "address": f"{3 + n} Mill Lane",
            "refunded": 0.0,
            "voucher": "",
        }
        for n in range(60)
    ]
    return {
        "orders": orders,
        "customers": [{"id": f"CU-{n}", "name": name} for n, name in enumerate(_CUSTOMERS, 201)],
        "products": [
            {"name": name, "price": round(9.9 + 11.25 * n, 2), "stock": (7 * n + 2) % 31}
            for n, name in enumerate(_PRODUCTS)
        ],
        "stores": [
            {"city": city, "street": f"{11 + 4 * n} High Street", "opens": f"{8 + n % 3:02d}:30"}
            for n, city in enumerate(_CITIES)
        ],
        "vouchers": [{"code": code} for code in _VOUCHERS],
        "tickets": [],
    }


class Shop(Desk):
    """The desk of Hollis & Vane."""

    instructions = "You help the support staff of Hollis & Vane, a furniture shop. Use the tools for what they ask."
    tool_names = (
        "track_order", "list_orders", "get_stock_level", "get_price", "find_store",
        "void_order", "set_shipping_address", "refund_order", "apply_voucher", "file_complaint",
    )  # fmt: skip
    effects = frozenset(tool_names[5:])

    def track_order(self, order: str) -> dict[str, str]:
        """Tell the state of an order, its carrier and the day on which it arrives.

        Args:
            order: Number of the order.
        """
        found = self.find("orders", id=order)
        return {name: found[name] for name in ("status", "carrier", "arrives")}

    def list_orders(self, customer: str) -> list[str]:
        """List the numbers of a customer's orders.

        Args:
            customer: Full name of the customer.
        """
        self.find("customers", name=customer)
        return [row["id"] for row in self.tables["orders"] if row["customer"] == customer]

    def get_stock_level(self, product: str) -> int:
        """Count the pieces of a product in stock.

        Args:
            product: Name of the product.
        """
        return self.find("products", name=product)["stock"]

    def get_price(self, product: str) -> float:
        """Tell the price of a product in pounds.

        Args:
            product: Name of the product.
        """
        return self.find("products", name=product)["price"]

    def find_store(self, city: str) -> dict[str, str]:
        """Find the store in a city: its street and when it opens.

        Args:
            city: Name of the city.
        """
        found = self.find("stores", city=city)
        return {name: found[name] for name in ("street", "opens")}

    def void_order(self, order: str) -> str:
        """Cancel an order that is not on its way yet.

        Args:
            order: Number of the order.
        """
        found = self.find("orders", id=order)
        if found["status"] != "packed":
            raise UnknownRecord(f"error: order {order} is {found['status']} and cannot be cancelled")
        found["status"] = "cancelled"
        return f"order {order} is cancelled, {found['paid']} pounds go back"

    def set_shipping_address(self, order: str, address: str) -> str:
        """Change the address to which an order is delivered.

        Args:
            order: Number of the order.
            address: Street and number of the new address.
        """
        found = self.find("orders", id=order)
        found["address"] = address
        return f"order {order} goes to {address} on {found['arrives']}"

    def refund_order(self, order: str, amount: float) -> str:
        """Refund an amount of what was paid for an order.

        Args:
            order: Number of the order.
            amount: Pounds to refund.
        """
        found = self.find("orders", id=order)
        if not 0 < amount <= found["paid"] - found["refunded"]:
            raise UnknownRecord(f"error: of order {order} only {found['paid'] - found['refunded']} can be refunded")
        found["refunded"] += amount
        return f"{amount} pounds of order {order} are refunded to {found['customer']}"

    def apply_voucher(self, order: str, code: str) -> str:
        """Apply a voucher to an order.

        Args:
            order: Number of the order.
            code: Code of the voucher.
        """
        found = self.find("orders", id=order)
        found["voucher"] = self.find("vouchers", code=code)["code"]
        return f"voucher {code} is applied to the {found['product']}"

    def file_complaint(self, customer: str, subject: str) -> str:
        """Open a ticket for a customer's complaint.

        Args:
            customer: Full name of the customer.
            subject: Complaint in a few words.
        """
        who = self.find("customers", name=customer)
        number = self.add("tickets", "TK", customer=who["id"], subject=subject)
        return f"ticket {number} is open for {who['id']}"
