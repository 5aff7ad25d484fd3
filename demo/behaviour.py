"""What visitors do on a visit, by what they came for."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from demo.shop import BY_CATEGORY, CATEGORIES, GUIDES, HELP, POPULARITY, PRODUCTS, SEARCHES, Product
from demo.tally import Person
from demo.visit import Visit
from demo.visitors import VISIT_LIMIT, Outing


@dataclass(frozen=True)
class Refund:
    """Money that goes back some days after an order."""

    order_id: str
    user_id: str
    ordered_at: int
    cents: int


@dataclass
class Customer:
    """A person and what they carry from visit to visit."""

    person: Person
    user_id: str | None
    basket: dict[Product, int] = field(default_factory=dict)
    order_n: int = 0
    refunds: list[Refund] = field(default_factory=list)


def some_product(rng: Random) -> Product:
    return rng.choices(PRODUCTS, cum_weights=POPULARITY)[0]


def play(rng: Random, visit: Visit, customer: Customer, outing: Outing) -> None:
    """Let the visitor do what the outing is for."""
    _land(rng, visit, rng.choice(outing.arrival.lands))
    if outing.logs_in and outing.purpose != "buy":
        visit.stay()
        visit.page("/account/login")
        visit.log_in(customer.user_id or "")
    match outing.purpose:
        case "bounce":
            visit.stay()
        case "browse":
            _wander(rng, visit, 1 + int(rng.expovariate(0.4)))
        case "search":
            visit.stay()
            visit.search(rng.choice(SEARCHES))
            _look(rng, visit, some_product(rng))
            _wander(rng, visit, rng.randrange(3))
        case "cart":
            _fill(rng, visit, customer)
            if rng.random() < 0.5:
                visit.page("/cart")
                visit.stay()
                if rng.random() < 0.55:
                    visit.start_checkout(customer.basket)
                    visit.page("/checkout")
                    visit.stay()
                    if rng.random() < 0.2:
                        visit.press("place-order", in_vain=True, in_anger=True)
        case _:
            _buy(rng, visit, customer, outing)
    visit.end()


def _land(rng: Random, visit: Visit, where: str) -> None:
    match where:
        case "home":
            visit.page("/")
        case "product":
            product = some_product(rng)
            visit.page(product.path, product)
        case "category":
            visit.page(f"/category/{rng.choice(CATEGORIES)}")
        case _:
            visit.page(rng.choice(GUIDES))


def _look(rng: Random, visit: Visit, product: Product) -> None:
    visit.stay()
    visit.page(product.path, product)
    chance = rng.random()
    if chance < 0.05:
        # The page has a button that does nothing.
        visit.press("figure", in_vain=True, in_anger=chance < 0.02)
    elif chance < 0.25:
        visit.press()
    elif chance > 0.99:
        visit.fail()


def _wander(rng: Random, visit: Visit, pages: int) -> None:
    category = rng.choice(CATEGORIES)
    deadline = visit.at + VISIT_LIMIT // 2
    for number in range(pages):
        if visit.at > deadline:
            break
        chance = rng.random()
        if number % 3 == 0 and chance < 0.7:
            visit.stay()
            visit.page(f"/category/{category}")
            if chance < 0.2:
                visit.press()
        elif chance < 0.025 and number:
            _glance(visit, f"/category/{category}", rng.choice(HELP))
        elif chance < 0.82:
            _look(rng, visit, rng.choice(BY_CATEGORY[category]))
        elif chance < 0.9:
            visit.stay()
            visit.page(rng.choice(GUIDES))
        elif chance < 0.96:
            visit.stay()
            visit.page("/")
        else:
            visit.stay()
            visit.page(rng.choice(HELP))


def _glance(visit: Visit, here: str, there: str) -> None:
    """Go to a page by mistake and come back at once."""
    visit.stay()
    visit.page(here)
    visit.stay()
    visit.page(there)
    visit.page(here)


def _fill(rng: Random, visit: Visit, customer: Customer) -> None:
    for _ in range(1 + (rng.random() < 0.4) + (rng.random() < 0.15)):
        if rng.random() < 0.5:
            visit.stay()
            visit.page(f"/category/{rng.choice(CATEGORIES)}")
        product = some_product(rng)
        _look(rng, visit, product)
        visit.add(product)
        customer.basket[product] = min(3, customer.basket.get(product, 0) + 1)


def _buy(rng: Random, visit: Visit, customer: Customer, outing: Outing) -> None:
    # What lies in the basket since an earlier visit may be enough.
    if not customer.basket or rng.random() < 0.5:
        _fill(rng, visit, customer)
    visit.stay()
    visit.page("/cart")
    visit.start_checkout(customer.basket)
    if outing.logs_in:
        visit.page("/account/login")
        visit.log_in(customer.user_id or "")
    visit.page("/checkout")
    visit.stay()
    if rng.random() < 0.06:
        visit.fail()
        visit.press("place-order", in_anger=True)
    coupon = "WELCOME10" if not customer.order_n else "AUTUMN15" if rng.random() < 0.1 else None
    basket, customer.basket = customer.basket, {}
    order_id, cents = visit.order(basket, coupon if rng.random() < 0.6 else None)
    customer.order_n += 1
    if customer.user_id and rng.random() < 0.12:
        part = cents if rng.random() < 0.5 else cents // 2
        customer.refunds.append(Refund(order_id, customer.user_id, visit.at, part))
    visit.page("/checkout/thanks")
    visit.stay()
