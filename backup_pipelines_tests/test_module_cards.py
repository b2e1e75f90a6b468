"""What a module's card says: its tables, its live records, and its last backup."""

from backup_pipelines import module_cards, verify
from backup_pipelines.module_cards import cards, last_backups
from backup_pipelines.postgres.row_counts import RowCount
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System
from backup_pipelines_tests.tiny_backups import put_backup

CRM = System.model_validate(
    {
        "system": "crm",
        "database_url_env": "CRM_DATABASE_URL",
        "modules": {"sales": {"tables": ["deals", "deal_*"]}, "people": {"tables": ["users"]}},
    }
)
ALL = ("sales", "people", "other")


def ids(store: Store) -> dict[str, str]:
    """The last backup of each module."""
    return {module: backup.id for module, backup in last_backups(store, CRM).items()}


def test_the_last_backup_is_the_newest_good_one_that_has_the_module_whole(store: Store) -> None:
    """Modules alone count, single tables and safety backups do not, nor do damaged ones."""
    assert ids(store) == {}
    full = put_backup(store, 1, modules=ALL)
    assert ids(store) == dict.fromkeys(ALL, full.id)
    alone = put_backup(store, 2, scope="modules", kind="module", modules=["sales"])
    put_backup(store, 3, scope="tables", kind="module", modules=["people"])
    put_backup(store, 4, scope="tables", kind="safety", modules=["people"])
    assert ids(store) == {**dict.fromkeys(ALL, full.id), "sales": alone.id}
    newest = put_backup(store, 5, modules=["sales", "people"])
    assert ids(store) == {"sales": newest.id, "people": newest.id, "other": full.id}
    verify.remember(store, newest, "an object is missing")
    assert ids(store) == {**dict.fromkeys(ALL, full.id), "sales": alone.id}


def test_a_module_may_be_far_back(store: Store) -> None:
    """Of many backups, read several at once, each module has its newest."""
    full = put_backup(store, 1, modules=ALL)
    people = put_backup(store, 2, scope="modules", kind="module", modules=["people"])
    sales = [
        put_backup(store, hour, scope="modules", kind="module", modules=["sales"])
        for hour in range(3, 40)
    ]
    assert ids(store) == {"sales": sales[-1].id, "people": people.id, "other": full.id}


def test_no_more_manifests_are_read_than_it_takes(store: Store) -> None:
    """Once each module has its backup, older ones are left alone: even one that is no manifest."""
    old = put_backup(store, 1, modules=ALL)
    new = put_backup(store, 2, modules=ALL)
    store.delete([f"crm/backups/{old.id}/manifest.json"])
    store.put_new(f"crm/backups/{old.id}/manifest.json", b"{")
    assert ids(store) == dict.fromkeys(ALL, new.id)
    verify.remember(store, new, "an object is missing")
    # The rest is shown without what cannot be read.
    assert ids(store) == {}


def test_cards_have_the_tables_that_there_are(store: Store) -> None:
    """Live tables fall into modules as in a backup; without a look at them the YAML tells."""
    put_backup(store, 1, modules=["sales"])
    live = {
        "public.deals": RowCount(3, is_exact=True),
        "public.deal_notes": RowCount(40, is_exact=False),
        "public.stray": RowCount(None, is_exact=False),
    }
    sales, people, other = cards(CRM, last_backups(store, CRM), live)
    assert (sales.module, people.module, other.module) == ALL
    assert sales.tables == ("public.deals", "public.deal_notes")
    assert sales.live_rows == RowCount(43, is_exact=False)
    assert (people.tables, people.live_rows) == ((), RowCount(0, is_exact=True))
    assert (other.tables, other.live_rows) == (("public.stray",), RowCount(None, is_exact=False))
    assert (sales.status, people.status) == ("backed up", "no backup yet")
    blind = cards(CRM, {}, None)
    assert [card.tables for card in blind] == [
        ("public.deals", "public.deal_*"),
        ("public.users",),
        (),
    ]
    assert all(card.live_rows is None for card in blind)


def test_the_document_says_how_the_rows_are_known(store: Store) -> None:
    """Counted, estimated, or not at all."""
    entry = put_backup(store, 1, modules=["sales"])
    backups = last_backups(store, CRM)

    def document(count: RowCount | None) -> dict[str, object]:
        live = None if count is None else {"public.deals": count}
        return dict(module_cards.document(cards(CRM, backups, live)[0]))

    counted = document(RowCount(3, is_exact=True))
    assert (counted["live_rows"], counted["live_rows_are"]) == (3, "counted")
    assert counted["live"] == {"public.deals": 3}
    assert counted["backup"] == {
        "id": entry.id,
        "type": "manual",
        "created_at": entry.created_at.isoformat(),
        "rows": entry.records_count,
        "size_bytes": entry.tables[0].size_bytes,
    }
    assert document(RowCount(3, is_exact=False))["live_rows_are"] == "estimated"
    unknown, unseen = document(RowCount(None, is_exact=False)), document(None)
    assert (unknown["live_rows"], unknown["live_rows_are"]) == (None, None)
    assert (unseen["live_rows"], unseen["live_rows_are"], unseen["live"]) == (None, None, {})
