"""The rows of the module leads."""

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from backup_pipelines.demo.crm import words
from backup_pipelines.demo.crm.dice import START, TODAY, cents
from backup_pipelines.demo.crm.world import Account, Deal, World

_SOURCES = (
    ("Website", False, None),
    ("Search ads", True, 4_210),
    ("Referral", False, 0),
    ("Trade fair", True, 18_500),
    ("Webinar", False, 950),
    ("Cold call", False, None),
    ("Partner", False, 12_000),
    ("Newsletter", False, 35),
    ("Social media", True, 2_799),
    ('Print ("Der Einkäufer")', True, 60_000),
    ("Import, 2023", False, None),
    ("Other", False, None),
)
_WEBSITE = 1
_OLD_STATUSES = ("unqualified", "unqualified", "unqualified", "contacted", "qualified")
_FRESH_STATUSES = ("new", "new", "contacted", "contacted", "qualified", "unqualified")
_FILES = ("leads.csv", "fair visitors, hall 4.csv", "Anmeldungen März.csv", 'old "crm" export.csv')
_KINDS = ("call", "email", "email", "website_visit", "website_visit", "form", "note")


class Person(NamedTuple):
    """Who a lead is; the columns of that name."""

    first_name: str
    last_name: str
    company: str | None
    email: str | None
    phone: str | None


class Became(NamedTuple):
    """What a lead was converted to; the columns of that name."""

    contact: int | None = None
    deal: int | None = None
    converted_at: datetime | None = None


class Fate(NamedTuple):
    """How far a lead got, and with whom."""

    status: str
    owner: UUID | None
    became: Became


def add_sources(world: World) -> None:
    """Where leads come from."""
    for name, is_paid, cost in _SOURCES:
        world.add(
            "lead_sources",
            world.key("lead_sources"),
            name,
            is_paid,
            None if cost is None else cents(cost),
        )


def add_leads(world: World, account: Account, deals: list[Deal]) -> None:
    """The leads that became contacts of this account, and a few that became nothing."""
    dice = world.dice
    for contact in account.contacts:
        if dice.chance(0.16):
            deal = next((deal for deal in deals if deal.contact is contact), None)
            created_at = contact.created_at - timedelta(seconds=dice.integer(3_600, 40 * 86_400))
            person = Person(
                contact.first_name,
                contact.last_name,
                account.company.name,
                contact.email,
                contact.phone,
            )
            became = Became(contact.id, deal.id if deal else None, contact.created_at)
            _add_lead(world, person, Fate("converted", account.owner, became), created_at)
    for _ in range(dice.integer(0, 4)):
        created_at = dice.worktime(START, TODAY)
        fresh = created_at > TODAY - timedelta(days=90)
        status = dice.pick(_FRESH_STATUSES if fresh else _OLD_STATUSES)
        owner = None if status == "new" else dice.early(world.users[1:])
        _add_lead(world, _person(world), Fate(status, owner, Became()), created_at)
    if dice.chance(0.12):
        _add_import(world)


def _person(world: World) -> Person:
    dice = world.dice
    region = dice.pick(world.pools.regions)
    first, last = dice.pick(region.first_names), dice.pick(region.last_names)
    company = f"{dice.pick(world.pools.stems).text} {dice.pick(words.COMPANY_WORDS)}"
    local = f"{first.slug or 'info'}.{last.slug or 'sales'}"
    return Person(
        first.text if dice.chance(0.9) else "",
        last.text,
        company if dice.chance(0.85) else None,
        f"{local}@example.{dice.pick(('com', 'org', 'net'))}" if dice.chance(0.95) else None,
        dice.pick(region.phones) if dice.chance(0.6) else None,
    )


def _add_lead(world: World, person: Person, fate: Fate, created_at: datetime) -> None:
    dice, lead = world.dice, world.dice.uuid()
    touched = fate.became.converted_at or dice.worktime(
        created_at, min(TODAY, created_at + timedelta(days=120))
    )
    # The model gives two digits or all it has.
    score = Decimal(dice.integer(0, 10**9)).scaleb(-7) if dice.chance(0.5) else dice.integer(0, 100)
    utm = {
        "source": dice.pick(("google", "mail", "fair")),
        "campaign": dice.pick(("spring", "été", "Q4")),
    }
    world.add(
        "leads",
        lead,
        _WEBSITE if dice.chance(0.4) else dice.integer(_WEBSITE, len(_SOURCES)),
        fate.status,
        *person,
        score if dice.chance(0.9) else None,
        cents(dice.amount_in_cents()) if dice.chance(0.4) else None,
        dice.some(words.LEAD_TAGS, 3) if dice.chance(0.8) else None,
        dice.pick(
            (f"198.51.100.{dice.integer(1, 254)}", f"2001:db8:{dice.integer(1, 9999)}::5", None)
        ),
        json.dumps(utm, ensure_ascii=False) if dice.chance(0.5) else "{}",
        world.phrase(words.LEAD_MESSAGES, person.last_name) if dice.chance(0.7) else None,
        fate.owner,
        *fate.became,
        created_at,
        touched,
    )
    _add_activities(world, lead, person, fate.owner, (created_at, touched))


def _add_activities(
    world: World, lead: UUID, person: Person, owner: UUID | None, span: tuple[datetime, datetime]
) -> None:
    dice = world.dice
    for _ in range(dice.integer(1, 5) if owner else dice.integer(0, 2)):
        kind = dice.pick(_KINDS)
        human = kind in {"call", "email", "note"}
        world.add(
            "lead_activities",
            world.key("lead_activities"),
            lead,
            kind,
            owner if human else None,
            world.phrase(words.ACTIVITIES[kind], person.last_name),
            timedelta(seconds=dice.integer(5, 2_400)) if kind == "call" else None,
            dice.worktime(*span),
        )


def _add_import(world: World) -> None:
    dice = world.dice
    moment, user = dice.worktime(START, TODAY), dice.pick(world.users)
    name = dice.pick(_FILES)
    for line in range(2, 2 + dice.integer(1, 4)):
        outcome, detail = dice.early(words.IMPORT_OUTCOMES)
        # A retried import writes a line again: without a key, two rows may be the same.
        for _ in range(2 if dice.chance(0.05) else 1):
            world.add("lead_imports_log", moment, name, line, outcome, detail, user)
