"""The rows of the module tasks."""

from datetime import datetime, time, timedelta
from typing import NamedTuple
from uuid import UUID

from backup_pipelines.demo.crm import words
from backup_pipelines.demo.crm.dice import TODAY, cents
from backup_pipelines.demo.crm.world import Account, Deal, Meeting, World

_PRIORITIES = ("low", "normal", "normal", "normal", "normal", "high", "high", "urgent")
_OPEN_STATUSES = ("open", "open", "open", "in progress", "in progress", "waiting")
_PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


class Reason(NamedTuple):
    """What a task is about, and since when."""

    since: datetime
    contact: int | None = None
    deal: int | None = None
    meeting: UUID | None = None


def add_tasks(world: World, account: Account, deals: list[Deal], meetings: list[Meeting]) -> None:
    """The action items around an account: from its meetings, for its deals, and plain ones."""
    dice = world.dice
    reasons = [
        Reason(
            min(TODAY, meeting.starts_at),
            deal=meeting.deal.id if meeting.deal else None,
            meeting=meeting.id,
        )
        for meeting in meetings
        if dice.chance(0.6)
    ]
    for deal in deals:
        if dice.chance(0.6):
            contact = deal.contact.id if deal.contact else None
            since = dice.worktime(deal.created_at, deal.closed_at or TODAY)
            reasons.append(Reason(since, contact, deal.id))
    if dice.chance(0.5):
        contact = dice.pick(account.contacts).id if account.contacts else None
        reasons.append(Reason(dice.worktime(account.created_at, TODAY), contact))
    for reason in reasons:
        title = world.phrase(words.TASK_TITLES, account.company.name)
        task = _add_task(world, account, reason, None, title)
        if dice.chance(0.15):
            for step in words.SUBTASKS[: dice.integer(2, 5)]:
                _add_task(world, account, reason, task, step)


def _add_task(
    world: World, account: Account, reason: Reason, parent: int | None, title: str
) -> int:
    dice, key = world.dice, world.key("tasks")
    since = reason.since
    due = since + timedelta(days=dice.integer(1, 30))
    done = (
        dice.worktime(since, min(TODAY, due + timedelta(days=9)))
        if dice.chance(_done(due))
        else None
    )
    closed = "done" if done else "cancelled" if due < TODAY and dice.chance(0.4) else None
    assignee = account.owner if dice.chance(0.7) else dice.early(world.users[1:])
    world.add(
        "tasks",
        key,
        parent,
        title,
        world.text(words.NOTES, account.company.name, 4)
        if dice.chance(0.4)
        else dice.pick((None, "")),
        dice.pick(_PRIORITIES),
        closed or dice.pick(_OPEN_STATUSES),
        assignee if dice.chance(0.93) else None,
        account.id if dice.chance(0.98) else None,
        reason.contact,
        reason.deal,
        reason.meeting,
        due.date() if dice.chance(0.9) else None,
        time(dice.integer(7, 17), dice.pick((0, 30))) if dice.chance(0.3) else None,
        timedelta(minutes=dice.pick((15, 30, 60, 120, 480, 1920))) if dice.chance(0.5) else None,
        done,
        since,
        done or dice.worktime(since, TODAY),
    )
    until = done or min(TODAY, due)
    _add_comments(world, account, key, assignee, (since, max(since, until)))
    if dice.chance(0.1):
        _add_attachment(world, account, key, assignee, until)
    return key


def _add_comments(
    world: World, account: Account, task: int, assignee: UUID, span: tuple[datetime, datetime]
) -> None:
    dice = world.dice
    for _ in range(dice.pick((0, 0, 0, 1, 1, 2, 4))):
        moment = dice.worktime(*span)
        body = world.phrase(words.TASK_COMMENTS, account.company.name)
        author = dice.pick((assignee, dice.pick(world.users), None))
        world.add("task_comments", world.key("task_comments"), task, author, body, moment)


def _done(due: datetime) -> float:
    """How likely a task is done that is due then."""
    return 0.9 if due < TODAY else 0.3


def _add_attachment(
    world: World, account: Account, task: int, user: UUID, moment: datetime
) -> None:
    dice = world.dice
    name, kind = dice.pick(
        (
            ("offer.pdf", "application/pdf"),
            ("Preisliste (final).csv", "text/csv"),
            ("whiteboard.png", "image/png"),
            ("minutes.txt", "text/plain"),
        )
    )
    if kind == "image/png":
        content = _PNG + dice.randbytes(dice.integer(400, 6_000))
    elif kind == "application/pdf":
        content = (
            b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
            + dice.randbytes(dice.integer(300, 4_000))
            + b"\n%%EOF\n"
        )
    elif kind == "text/csv":
        # As a spreadsheet saves it: not UTF-8, which bytea does not mind.
        lines = [
            f"{product.id};{product.name};{cents(product.cents)}" for product in world.products
        ]
        content = "\r\n".join(["id;name;price", *lines[: dice.integer(1, 60)]]).encode("cp1252")
    else:
        # An empty file is a file, too.
        content = (
            b"" if dice.chance(0.1) else world.text(words.NOTES, account.company.name, 9).encode()
        )
    world.add(
        "task_attachments", dice.uuid(), task, name, kind, content, len(content), user, moment
    )
