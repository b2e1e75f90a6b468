"""The rows of the module meetings."""

import json
from datetime import timedelta

from backup_pipelines.demo.crm import words
from backup_pipelines.demo.crm.dice import TODAY
from backup_pipelines.demo.crm.world import Account, Deal, Meeting, World

_KINDS = ("call", "call", "video", "video", "video", "on site", "demo", "workshop")
_RESPONSES = ("accepted", "accepted", "accepted", "accepted", "tentative", "declined")
_ROOMS = (
    "Board room",
    "Room 2.14",
    'Café "Zur Post"',
    "Their office, 3rd floor",
    "Messehalle 4",
    "",
)


def add_meetings(world: World, account: Account, deals: list[Deal]) -> list[Meeting]:
    """The meetings with an account: about its deals, and otherwise."""
    about: list[Deal | None] = [deal for deal in deals for _ in range(world.dice.integer(0, 1))]
    about += [None] * world.dice.integer(0, 1)
    return [_add_meeting(world, account, deal) for deal in about]


def _add_meeting(world: World, account: Account, deal: Deal | None) -> Meeting:
    dice = world.dice
    start = deal.created_at if deal else account.created_at
    end = deal.closed_at if deal and deal.closed_at else TODAY + timedelta(days=45)
    meeting = Meeting(dice.uuid(), deal, dice.appointment(start, end))
    kind, online = dice.pick(_KINDS), dice.chance(0.5)
    name = dice.pick(account.contacts).last_name if account.contacts else account.company.name
    notice = timedelta(days=dice.integer(1, 20), seconds=dice.integer(1, 9999))
    created_at = max(start, meeting.starts_at - notice)
    cancelled = dice.chance(0.06)
    room, pin = dice.integer(10**8, 10**9), f"{dice.integer(0, 9999):04}"
    dial_in = {"url": f"https://meet.example.com/{room}", "pin": pin}
    world.add(
        "meetings",
        meeting.id,
        world.phrase(words.MEETING_SUBJECTS, name),
        kind,
        account.id,
        deal.id if deal else None,
        deal.owner if deal else account.owner,
        meeting.starts_at,
        timedelta(minutes=dice.pick((15, 30, 30, 45, 60, 60, 90, 120, 240))),
        None if online else dice.pick(_ROOMS),
        dice.some(words.AGENDA_ITEMS, 4),
        json.dumps(dial_in) if online else None,
        cancelled,
        min(created_at, TODAY),
        min(max(created_at, meeting.starts_at), TODAY),
    )
    _add_attendees(world, account, meeting)
    if not cancelled and meeting.starts_at < TODAY:
        _add_notes(world, account, meeting, name)
    return meeting


def _add_attendees(world: World, account: Account, meeting: Meeting) -> None:
    dice = world.dice
    organizer = meeting.deal.owner if meeting.deal else account.owner
    colleagues = [user for user in dice.some(world.users, 2) if user != organizer]
    contacts = account.contacts
    if len(contacts) > 2:
        contacts = dice.some(contacts, 3)
    people = [(user, None) for user in (organizer, *colleagues)]
    for user, contact in (*people, *((None, contact.id) for contact in contacts)):
        answered = dice.chance(0.85)
        responded_at = min(TODAY, meeting.starts_at - timedelta(seconds=dice.integer(60, 900_000)))
        world.add(
            "meeting_attendees",
            world.key("meeting_attendees"),
            meeting.id,
            user,
            contact,
            dice.pick(_RESPONSES) if answered else "no answer",
            responded_at if answered else None,
        )


def _add_notes(world: World, account: Account, meeting: Meeting, name: str) -> None:
    dice = world.dice
    for _ in range(dice.pick((0, 1, 1, 1, 1, 2))):
        written = min(TODAY, meeting.starts_at + timedelta(seconds=dice.integer(1_800, 200_000)))
        world.add(
            "meeting_notes",
            world.key("meeting_notes"),
            meeting.id,
            account.owner if dice.chance(0.95) else None,
            world.text(words.NOTES, name, 6),
            dice.chance(0.12),
            written,
            written if dice.chance(0.8) else dice.worktime(written, TODAY),
        )
