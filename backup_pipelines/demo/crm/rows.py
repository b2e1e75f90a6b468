"""The rows of the crm demo: the same for a seed and scale on every run and every machine."""

from collections.abc import Iterator
from datetime import timedelta

from backup_pipelines.demo.crm.dice import START, TODAY
from backup_pipelines.demo.crm.leads import add_leads, add_sources
from backup_pipelines.demo.crm.meetings import add_meetings
from backup_pipelines.demo.crm.people import add_account, add_users
from backup_pipelines.demo.crm.sales import add_catalog, add_deals
from backup_pipelines.demo.crm.tasks import add_tasks
from backup_pipelines.demo.crm.world import Account, World
from backup_pipelines.demo.rows import TableRows

# About forty rows hang off an account, all tables together.
_ACCOUNTS = 2_200
# Accounts in memory at a time: some ten thousand rows, whatever the scale.
_BATCH = 250


def tables(seed: int, scale: float) -> Iterator[TableRows]:
    """Every table's rows; about 100,000 in all at scale 1. Small ones (products) do not grow."""
    world = World(seed)
    add_users(world)
    add_sources(world)
    add_catalog(world)
    yield from world.drain()
    total = max(10, round(_ACCOUNTS * scale))
    span = TODAY - timedelta(days=20) - START
    for first in range(0, total, _BATCH):
        batch: list[Account] = []
        for index in range(first, min(first + _BATCH, total)):
            # Evenly over the years, so that old accounts have low numbers and a long past.
            begin = START + span * index / total
            created_at = world.dice.worktime(begin, begin + timedelta(days=3))
            account = add_account(world, index, created_at, batch)
            batch.append(account)
            deals = add_deals(world, account)
            add_leads(world, account, deals)
            add_tasks(world, account, deals, add_meetings(world, account, deals))
        yield from world.drain()
