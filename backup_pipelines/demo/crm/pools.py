# ruff: noqa: RUF001 - Greek letters look like Latin ones; that is their nature.
"""Names and places: made once by mimesis, then dealt out, for asking it for every row is slow."""

import unicodedata
from dataclasses import dataclass
from typing import NamedTuple

from mimesis import Address, Locale, Person

from backup_pipelines.demo.crm.dice import Dice
from backup_pipelines.demo.crm.words import COMPANY_WORDS

_POOL = 160
# What NFKD leaves alone.
_LETTERS = str.maketrans(
    {"ß": "ss", "ł": "l", "Ł": "l", "ø": "o", "Ø": "o", "æ": "ae", "đ": "d", "ı": "i"}
)
# A prime above the number of stems and of words: its multiples meet every pair before one twice.
_STRIDE = 7919


class Name(NamedTuple):
    """A name and how it is written in an e-mail address, empty where there is no such way."""

    text: str
    slug: str


class Place(NamedTuple):
    """Where an address is."""

    street: str
    city: str
    region: str
    postal_code: str
    location: str


class Company(NamedTuple):
    """A company's name and its domain, both its own."""

    name: str
    domain: str


@dataclass(frozen=True)
class Region:
    """A country with the names and places people have there."""

    country: str
    language: str
    currency: str
    legal_forms: tuple[str, ...]
    first_names: tuple[Name, ...]
    last_names: tuple[Name, ...]
    places: tuple[Place, ...]
    phones: tuple[str, ...]


# Ranges kept free for films, so that nobody answers; the other countries have none.
_FICTION = {
    "US": "+1 212 555 01",
    "GB": "+44 20 7946 09",
    "DE": "+49 30 231250",
    "FR": "+33 1 99 00 00 ",
    "SE": "+46 8 465 004 ",
}
# Locale, country, currency, legal forms, and how many of twenty accounts are there.
_REGIONS = (
    (Locale.EN, "US", "USD", ("Inc.", "LLC", "Corp."), 5),
    (Locale.EN_GB, "GB", "GBP", ("Ltd", "plc", "& Sons, Ltd"), 3),
    (Locale.DE, "DE", "EUR", ("GmbH", "AG", "GmbH & Co. KG"), 4),
    (Locale.FR, "FR", "EUR", ("SARL", "SA", "S.A.S."), 2),
    (Locale.ES, "ES", "EUR", ("S.L.", "S.A."), 1),
    (Locale.PL, "PL", "PLN", ("sp. z o.o.", "S.A."), 1),
    (Locale.SV, "SE", "SEK", ("AB",), 1),
    (Locale.CS, "CZ", "CZK", ("s.r.o.", "a.s."), 1),
    (Locale.EL, "GR", "EUR", ("Α.Ε.", "Ε.Π.Ε."), 1),
    (Locale.JA, "JP", "JPY", ("株式会社", "K.K."), 1),
)


@dataclass(frozen=True)
class Pools:
    """All regions, each as often as it is likely, and what company names are put together from."""

    regions: tuple[Region, ...]
    stems: tuple[Name, ...]

    def company(self, index: int, dice: Dice, region: Region) -> Company:
        """The index-th company: no two share a domain, however many there are."""
        pairs = len(self.stems) * len(COMPANY_WORDS)
        turn, place = index // pairs, index * _STRIDE % pairs
        stem, word = (
            self.stems[place // len(COMPANY_WORDS)],
            COMPANY_WORDS[place % len(COMPANY_WORDS)],
        )
        number = f" {turn + 1}" if turn else ""
        legal = dice.pick(region.legal_forms)
        if dice.chance(0.05):
            name = f"{stem.text}, {dice.pick(self.stems).text} & Partners{number} ({word})"
        elif dice.chance(0.05):
            name = f'{stem.text}\'s "{word}"{number}'
        else:
            name = f"{stem.text} {word}{number} {legal}"
        domain = f"{stem.slug}-{word.lower()}{number.replace(' ', '-')}"
        return Company(name, f"{domain}.example.{dice.pick(('com', 'com', 'org', 'net'))}")


def build(seed: int) -> Pools:
    """The pools for a seed."""
    regions = [_region(seed + n, *spec[:4]) for n, spec in enumerate(_REGIONS)]
    weighted = tuple(
        region for region, spec in zip(regions, _REGIONS, strict=True) for _ in range(spec[4])
    )
    by_slug = {
        name.slug: name for region in regions for name in region.last_names if len(name.slug) > 2
    }
    return Pools(weighted, tuple(by_slug.values()))


def _region(
    seed: int, locale: Locale, country: str, currency: str, legal_forms: tuple[str, ...]
) -> Region:
    person, address, dice = Person(locale, seed=seed), Address(locale, seed=seed), Dice(seed)
    return Region(
        country=country,
        language=locale.value[:2],
        currency=currency,
        legal_forms=legal_forms,
        first_names=tuple(_name(person.first_name()) for _ in range(_POOL)),
        last_names=tuple(_name(person.last_name()) for _ in range(_POOL)),
        places=tuple(
            Place(
                address.address(),
                address.city(),
                address.state(),
                address.postal_code(),
                _point(dice),
            )
            for _ in range(_POOL)
        ),
        phones=tuple(_phone(dice, country, person.phone_number()) for _ in range(_POOL)),
    )


def _name(text: str) -> Name:
    plain = (
        unicodedata.normalize("NFKD", text.translate(_LETTERS)).encode("ascii", "ignore").decode()
    )
    return Name(text, "".join(letter for letter in plain.lower() if letter.isalnum()))


def _point(dice: Dice) -> str:
    return f"({dice.integer(-9_000, 30_000) / 1000},{dice.integer(36_000, 60_000) / 1000})"


def _phone(dice: Dice, country: str, number: str) -> str:
    return f"{_FICTION[country]}{dice.integer(0, 99):02}" if country in _FICTION else number
