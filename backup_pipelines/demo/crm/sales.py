"""The rows of the module deals."""

import json
from datetime import datetime, timedelta
from decimal import Decimal

from backup_pipelines.demo.crm import words
from backup_pipelines.demo.crm.dice import TODAY, cents
from backup_pipelines.demo.crm.world import Account, Deal, Product, World

WON, LOST = "closed won", "closed lost"
# Stage, label, thousandths of probability, how long it should take.
_STAGES = (
    ("prospecting", "Prospecting", 100, "14 days"),
    ("qualification", "Qualification", 250, "21 days"),
    ("proposal", "Proposal sent", 500, "1 mon"),
    ("negotiation", "Negotiation", 750, "1 mon 15 days"),
    (WON, "Won 🎉", 1000, None),
    (LOST, "Lost", 0, None),
)
_PROBABILITY = {stage: probability for stage, _, probability, _ in _STAGES}
_OPEN = tuple(stage for stage, *_ in _STAGES[:4])
_RATES = {
    "EUR": 1,
    "USD": 86_017,
    "GBP": 115_344,
    "PLN": 23_671,
    "SEK": 9_312,
    "CZK": 4_114,
    "JPY": 545,
}

History = list[tuple[str, datetime, datetime | None]]


def add_catalog(world: World) -> None:
    """The stages a deal goes through and the products there are."""
    for position, (stage, label, probability, duration) in enumerate(_STAGES, 1):
        world.add("deal_stages", stage, label, position, Decimal(probability).scaleb(-3), duration)
    for family, name, base in words.PRODUCT_FAMILIES:
        for number, edition in enumerate(words.PRODUCT_EDITIONS):
            price = base * (10 + 7 * number) // 10
            product = Product(world.key("products"), f"{name} {edition}", price)
            attributes = {
                "family": family,
                "seats": 5**number,
                "tags": world.dice.some(words.LEAD_TAGS, 2),
            }
            world.products.append(product)
            world.add(
                "products",
                product.id,
                f"{family}-{100 + number * 10}",
                product.name,
                cents(price),
                json.dumps(attributes),
                world.dice.chance(0.9),
            )


def add_deals(world: World, account: Account) -> list[Deal]:
    """The deals of an account, each with its lines and the stages it went through."""
    dice = world.dice
    years = (TODAY - account.created_at).days / 365
    most = 1 + int(2.2 * years * dice.random() + 0.9)
    return [_add_deal(world, account) for _ in range(dice.integer(0, most))]


def _add_deal(world: World, account: Account) -> Deal:
    dice, key = world.dice, world.key("deals")
    contact = dice.early(account.contacts) if account.contacts and dice.chance(0.93) else None
    owner = account.owner if dice.chance(0.85) else dice.early(world.users[1:])
    created_at = dice.worktime(account.created_at, TODAY)
    history = _stages(world, created_at)
    stage, entered, _ = history[-1]
    deal = Deal(key, contact, owner, created_at, entered if stage in {WON, LOST} else None)
    subject, amount = _add_lines(world, deal)
    world.add(
        "deals",
        key,
        f"{account.company.name}: {subject}",
        account.id,
        contact.id if contact else None,
        owner if dice.chance(0.98) else None,
        stage,
        cents(amount),
        account.region.currency,
        _exchange_rate(world, account.region.currency),
        Decimal(_PROBABILITY[stage]).scaleb(-3),
        (created_at + timedelta(days=dice.integer(20, 200))).date() if dice.chance(0.95) else None,
        deal.closed_at,
        dice.early(words.LOST_REASONS) if stage == LOST and dice.chance(0.9) else None,
        None
        if deal.closed_at
        else world.phrase(words.NEXT_STEPS, contact.last_name if contact else "?"),
        created_at,
        max(entered, dice.worktime(entered, min(TODAY, entered + timedelta(days=10)))),
    )
    for name, start, end in history:
        user = owner if dice.chance(0.9) else None
        world.add(
            "deal_stage_history", world.key("deal_stage_history"), key, name, start, end, user
        )
    return deal


def _exchange_rate(world: World, currency: str) -> Decimal:
    """A rate with as many digits as the bank delivers: the column has no precision."""
    rate = _RATES[currency]
    if rate == 1:
        return Decimal(1)
    return Decimal(rate * 10**6 + world.dice.integer(0, 10**6)).scaleb(-11).normalize()


def _stages(world: World, created_at: datetime) -> History:
    """From one stage to the next until the deal is closed or today is reached."""
    dice, history, entered = world.dice, History(), created_at
    for number, stage in enumerate(_OPEN):
        left = dice.worktime(entered + timedelta(hours=3), entered + timedelta(days=42))
        # Now and then a deal is forgotten where it stands.
        if left > TODAY or dice.chance(0.02):
            return [*history, (stage, entered, None)]
        history.append((stage, entered, left))
        entered = left
        if dice.chance(0.14 if number < 3 else 0.35):
            return [*history, (LOST, entered, None)]
    return [*history, (WON, entered, None)]


def _add_lines(world: World, deal: Deal) -> tuple[str, int]:
    """The lines of a deal; gives what it is about and what it is worth in cents."""
    dice = world.dice
    products = dice.some(world.products, 4)
    if not products:
        return "to be defined", dice.amount_in_cents()
    total = 0
    for product in products:
        quantity = (
            1 if product.cents > 1_000_000 else dice.pick((1, 1, 2, 3, 5, 8, 10, 25, 40, 120))
        )
        discount = dice.pick((0, 0, 0, 0, 500, 750, 1000, 1250, 2000))
        total += quantity * product.cents * (10_000 - discount) // 10_000
        world.add(
            "deal_products", deal.id, product.id, quantity, cents(product.cents), cents(discount)
        )
    return products[0].name, total
