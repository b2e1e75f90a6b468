"""The rows of the modules accounts and contacts."""

import json
from datetime import date, datetime, time, timedelta

from backup_pipelines.demo.crm import words
from backup_pipelines.demo.crm.dice import START, TODAY, cents
from backup_pipelines.demo.crm.pools import Region
from backup_pipelines.demo.crm.world import Account, Contact, World

_TEAMS = ("Inside Sales", "Key Accounts", "Public Sector", "Partners", "DACH", "Customer Success")
_TIERS = (
    "customer",
    "customer",
    "customer",
    "prospect",
    "prospect",
    "prospect",
    "partner",
    "former",
)
_SIZES = ((1, 9), (10, 49), (10, 49), (50, 249), (50, 249), (250, 999), (1_000, 9_000))
_CONTACTS = (0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 6, 8, 9)
USERS = 48


def add_users(world: World) -> None:
    """The sales people: one head, one lead for every team, and their teams."""
    dice = world.dice
    for index in range(USERS):
        region = dice.pick(world.pools.regions)
        first, last = dice.pick(region.first_names), dice.pick(region.last_names)
        user, username = dice.uuid(), f"{first.slug[:1] or 'u'}{last.slug or 'ser'}{index + 1}"
        lead = index <= len(_TEAMS)
        manager = None if index == 0 else world.users[0 if lead else 1 + index % len(_TEAMS)]
        starts = dice.integer(28, 38) * 15
        world.users.append(user)
        world.add(
            "users",
            user,
            username,
            f"{first.text} {last.text}",
            f"{username}@sales.example.com",
            "Head of Sales" if index == 0 else "Team Lead" if lead else "Account Manager",
            _TEAMS[(index - 1) % len(_TEAMS)],
            manager,
            lead or dice.chance(0.9),
            dice.pick(("UTC", "Europe/Berlin", "Europe/Paris", "America/New_York", "Asia/Tokyo")),
            time(starts // 60, starts % 60),
            time(starts // 60 + 8, dice.pick((0, 15, 30))),
            dice.pick(
                (f"10.20.{index}.7", f"2001:db8::{index:x}", f"192.0.2.{index + 1}/32", None)
            ),
            dice.worktime(TODAY - timedelta(days=40), TODAY) if dice.chance(0.9) else None,
            json.dumps(
                {
                    "theme": dice.pick(("dark", "light")),
                    "alerts": dice.some(("mail", "sms", "app"), 2),
                }
            ),
            dice.day(date(2012, 1, 1), START.date()),
        )


def add_account(world: World, index: int, created_at: datetime, older: list[Account]) -> Account:
    """An account with its addresses, tags and contacts."""
    dice = world.dice
    region = dice.pick(world.pools.regions)
    account = Account(
        id=world.key("accounts"),
        company=world.pools.company(index, dice, region),
        region=region,
        owner=dice.early(world.users[1:]),
        created_at=created_at,
        contacts=[],
    )
    taken: set[str] = set()
    for _ in range(dice.pick(_CONTACTS)):
        account.contacts.append(_add_contact(world, region, created_at, account, taken))
    parent = dice.pick(older).id if older and dice.chance(0.08) else None
    _add_account_row(world, account, parent)
    _add_addresses(world, account)
    for tag in dice.some(words.ACCOUNT_TAGS, 4):
        tagger = dice.pick(world.users) if dice.chance(0.9) else None
        world.add("account_tags", account.id, tag, tagger, dice.worktime(created_at, TODAY))
    if dice.chance(0.15):
        _add_contact(world, dice.pick(world.pools.regions), created_at, None, set())
    return account


def _add_account_row(world: World, account: Account, parent: int | None) -> None:
    dice, region = world.dice, account.region
    employees = dice.integer(*dice.pick(_SIZES))
    known = dice.chance(0.8)
    custom = {
        "erp": dice.pick(("SAP", "Odoo", None)),
        "fiscal_year_end": dice.pick(("12-31", "06-30")),
        "nps": dice.integer(-5, 10),
    }
    world.add(
        "accounts",
        account.id,
        account.company.name,
        dice.pick(_TIERS),
        dice.pick(words.INDUSTRIES) if dice.chance(0.9) else None,
        f"https://www.{account.company.domain}/" if dice.chance(0.85) else None,
        dice.pick(region.phones) if dice.chance(0.8) else "",
        region.country,
        employees if known else None,
        cents(employees * dice.integer(6_000_000, 30_000_000)) if known else None,
        region.currency,
        parent,
        dice.early(account.contacts).id if account.contacts and dice.chance(0.9) else None,
        account.owner if dice.chance(0.97) else None,
        world.text(words.NOTES, account.company.name, 3) if dice.chance(0.4) else None,
        json.dumps(custom, ensure_ascii=False) if dice.chance(0.6) else None,
        account.created_at,
        dice.worktime(account.created_at, TODAY),
    )


def _add_addresses(world: World, account: Account) -> None:
    dice = world.dice
    for kind, probability in (
        ("headquarters", 0.95),
        ("billing", 0.35),
        ("shipping", 0.2),
        ("branch", 0.1),
    ):
        if dice.chance(probability):
            place = dice.pick(account.region.places)
            world.add(
                "account_addresses",
                dice.uuid(),
                account.id,
                kind,
                f"{place.street}\nc/o {account.company.name}"
                if dice.chance(0.05)
                else place.street,
                place.city,
                place.region if dice.chance(0.7) else None,
                place.postal_code,
                account.region.country,
                place.location if dice.chance(0.6) else None,
                account.created_at.date() if dice.chance(0.9) else date(1999, 12, 31),
            )


def _add_contact(
    world: World, region: Region, after: datetime, account: Account | None, taken: set[str]
) -> Contact:
    dice, key = world.dice, world.key("contacts")
    first, last = dice.pick(region.first_names), dice.pick(region.last_names)
    local = f"{first.slug}.{last.slug}" if first.slug and last.slug else f"contact{key}"
    if account is None or local in taken:
        local = f"{local}{key}"
    taken.add(local)
    domain = account.company.domain if account else dice.pick(("example.net", "example.org"))
    email = f"{local}@{domain}"
    created_at = dice.worktime(after, min(TODAY, after + timedelta(days=400)))
    contact = Contact(key, first.text, last.text, email, dice.pick(region.phones), created_at)
    world.add(
        "contacts",
        key,
        account.id if account else None,
        contact.first_name,
        contact.last_name,
        email,
        contact.phone if dice.chance(0.7) else dice.pick((None, "")),
        dice.pick(region.phones) if dice.chance(0.4) else None,
        dice.early(words.JOB_TITLES) if account else None,
        dice.day(date(1955, 1, 1), date(2004, 12, 31)) if dice.chance(0.3) else None,
        region.language,
        dice.some(words.INTERESTS, 3),
        _social(world, contact, local) if dice.chance(0.35) else None,
        dice.chance(0.04),
        created_at if dice.chance(0.5) else None,
        created_at,
        dice.worktime(created_at, TODAY),
    )
    _add_emails(world, contact, local)
    return contact


def _social(world: World, contact: Contact, local: str) -> str:
    profile = {
        "linkedin": f"https://social.example.com/in/{local}",
        "displayName": contact.first_name,
    }
    if world.dice.chance(0.3):
        profile["note"] = world.phrase(words.NOTES, contact.last_name)
    return json.dumps(profile, ensure_ascii=False)


def _add_emails(world: World, contact: Contact, local: str) -> None:
    dice = world.dice
    checked = dice.worktime(contact.created_at, TODAY)
    world.add(
        "contact_emails",
        dice.uuid(),
        contact.id,
        contact.email,
        "work",
        True,
        checked if dice.chance(0.8) else None,
        None,
    )
    if dice.chance(0.3):
        kind = dice.pick(("personal", "personal", "assistant", "billing"))
        address = f"{local}@example.org" if kind == "personal" else f"{kind}.{contact.email}"
        bounced = checked if dice.chance(0.15) else None
        world.add("contact_emails", dice.uuid(), contact.id, address, kind, False, None, bounced)
