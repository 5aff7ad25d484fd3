"""What the demo's shop sells: Fernhout, a small shop for the home office and the kitchen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import accumulate

HOST = "https://shop.example"


@dataclass(frozen=True, eq=False)
class Product:
    number: int
    slug: str
    name: str
    category: str
    cents: int

    @property
    def path(self) -> str:
        return f"/product/{self.slug}"


_RANGE = {
    "desks": "Oak Desk 649, Standing Desk 789, Wall Desk 329, Corner Desk 459, Pine Trestle 119, Desk Shelf 89",
    "chairs": "Mesh Chair 349, Wooden Stool 129, Reading Chair 549, Kneeling Chair 199, Bar Stool 149, "
    "Rocking Chair 429, Folding Chair 59",
    "lamps": "Arc Lamp 189, Clamp Lamp 79, Paper Lantern 39, Reading Lamp 99, Bedside Lamp 69, "
    "Studio Spot 119, Pendant Lamp 159",
    "storage": "Ladder Shelf 179, Rolling Drawer 139, Wall Rack 49, Linen Basket 35, File Box 25, "
    "Peg Board 59, Shoe Bench 129",
    "kitchen": "Carbon Pan 79, Chef Knife 119, Walnut Board 65, Pour Over Kit 45, Stone Mortar 39, "
    "Bread Tin 25, Tea Pot 55, Spice Set 29",
    "textiles": "Wool Throw 95, Linen Sheet 129, Cotton Towel 29, Jute Rug 199, Velvet Cushion 39, Felt Mat 35",
}


def _products() -> tuple[Product, ...]:
    entries = [(category, entry.strip()) for category, text in _RANGE.items() for entry in text.split(",")]
    products = []
    for number, (category, entry) in enumerate(entries, start=1):
        name, _, price = entry.rpartition(" ")
        products.append(Product(number, name.lower().replace(" ", "-"), name, category, int(price) * 100 - 5))
    return tuple(products)


PRODUCTS = _products()
CATEGORIES = tuple(_RANGE)
# A few products draw most looks; cumulated.
POPULARITY = tuple(accumulate(1 / (1 + (product.number * 7) % len(PRODUCTS)) ** 0.6 for product in PRODUCTS))
BY_CATEGORY = {
    category: tuple(product for product in PRODUCTS if product.category == category) for category in CATEGORIES
}
SEARCHES = ("desk", "standing desk", "lamp", "gift", "oak", "chair", "knife", "linen", "shelf", "rug")
GUIDES = ("/guide/ergonomic-desk", "/guide/small-kitchen", "/guide/light-for-reading", "/guide/wood-care")
HELP = ("/help/delivery", "/help/returns", "/help/contact")

COUPONS = {"WELCOME10": 10, "AUTUMN15": 15}  # per cent
TAX_PCT = 21
SHIPPING = 495
FREE_SHIPPING_FROM = 7500


@cache
def title(path: str) -> str:
    """A page's title as a browser tab shows it."""
    if path == "/":
        return "Fernhout: things for desk and table"
    return path.rpartition("/")[2].replace("-", " ").title() + " | Fernhout"


@cache
def node(path: str) -> str:
    """The name under which a page is counted: products together."""
    return "/product/:id" if path.startswith("/product/") else path
