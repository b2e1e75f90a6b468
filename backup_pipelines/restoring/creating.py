"""Making the tables that the live database lost, in the transaction of the restore.

A plan makes them as well, empty, and rolls back: what cannot be made here shows before anybody
decides. It leaves alone what would lock live tables: keys, and policies and rules of others.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import pairwise

import psycopg
from psycopg import sql

from backup_pipelines.errors import Failed
from backup_pipelines.manifest import Manifest
from backup_pipelines.postgres.connection import Connection
from backup_pipelines.postgres.ddl_subjects import Name, about, is_body_of_view, part_of, words
from backup_pipelines.postgres.queries import query
from backup_pipelines.restoring import ddl_restore, lost
from backup_pipelines.restoring.backup_ddl import BackupDdl
from backup_pipelines.restoring.creation import Creation, Piece
from backup_pipelines.restoring.drift import Drift, TableDrift
from backup_pipelines.restoring.existing import functions_now, relations_now
from backup_pipelines.restoring.load import refresh
from backup_pipelines.restoring.missing import find, name_of
from backup_pipelines.restoring.pending_keys import pending
from backup_pipelines.restoring.scene import Rules, Scene, look
from backup_pipelines.restoring.selection import Selection

# The objects that are a view or a function, not something of one.
_WHOLE = ("VIEW", "MATERIALIZED VIEW", "FUNCTION", "PROCEDURE")


def find_missing(
    connection: Connection,
    ddl: BackupDdl,
    entry: Manifest,
    selection: Selection,
    rules: Rules,
    scene: Scene,
) -> Creation | None:
    """What has to be created for a restore of the selection; None if nothing, or not by `rules`."""
    if not rules.creates:
        return None
    of_record = selection.record is not None
    return find(connection, ddl, entry, scene.tables, scene.live, of_record=of_record)


def with_missing(
    connection: Connection,
    ddl: BackupDdl,
    entry: Manifest,
    selection: Selection,
    rules: Rules,
    scene: Scene,
    *,
    rehearsing: bool,
) -> Scene:
    """The scene after the missing tables were created, empty; those that cannot be are refused.

    `rehearsing` tries all that follows, too, for a plan, which rolls back.
    """
    creation = find_missing(connection, ddl, entry, selection, rules, scene)
    if creation is None:
        return scene
    _run(connection, creation, creation.tables)
    # What has the name of a table that cannot be created is somebody else's.
    own = {**{name_of(t): q for q, t in creation.made.items()}, **creation.sequences}
    made = {name for name, table in own.items() if table not in creation.problems}
    _take_default_grants(connection, made, frozenset())
    now = look(connection, entry, selection, rules)
    for name, drift in now.drifts.items():
        if name in creation.made and name in now.live and not drift.is_exact:
            creation.refuse(name, "; ".join(d.text for d in drift.differences))
    if rehearsing:
        _rehearse(connection, creation)
    drifts = dict(now.drifts)
    for name, problems in creation.problems.items():
        texts = tuple(Drift("", "refused", problem) for problem in problems)
        drifts[name] = TableDrift(texts, ())
    keys = pending(connection, creation)
    return replace(now, drifts=drifts, creation=creation, pending=keys)


def _rehearse(connection: Connection, creation: Creation) -> None:
    """Try on the empty tables what a restore makes after their rows; problems are remembered.

    It is taken back at once: grants and row-level security could hide what is to be compared.
    """
    attached = {piece.table for piece in creation.attached if piece.entry.type == "TABLE ATTACH"}
    pieces = (*creation.constraints, *creation.last, *creation.grants, *creation.security)
    # A partition has triggers of its table only when it belongs to it.
    tried = [
        piece
        for piece in pieces
        if not piece.on_live and not (piece.table in attached and piece in creation.last)
    ]
    with connection.transaction():
        _run(connection, creation, tried)
        raise psycopg.Rollback


def finish_tables(connection: Connection, creation: Creation) -> None:
    """Constraints and indexes over the rows, and partitions into the tables that were there."""
    _run(connection, creation, (*creation.constraints, *creation.attached), strictly=True)


def add_keys(connection: Connection, creation: Creation) -> None:
    """The foreign keys, of the tables and to them; each checks its rows."""
    for piece in creation.keys:
        try:
            _run(connection, creation, [piece], strictly=True)
        except Failed as error:
            if not isinstance(error.__cause__, psycopg.IntegrityError):
                raise
            table = ".".join(about(piece.entry) or ())
            raise Failed(
                f"foreign key {part_of(piece.entry)} of {table} does not hold with the rows that "
                f"are there, everything was rolled back: {str(error.__cause__).strip()}"
            ) from error


def complete(connection: Connection, creation: Creation, entry: Manifest) -> None:
    """Triggers, views, rules, policies, grants and row-level security, after the proof."""
    _run(connection, creation, creation.last)
    views = creation.made_views
    _take_default_grants(connection, views, creation.made_functions)
    _run(connection, creation, creation.grants)
    for view in entry.materialized_views:
        if (view.schema_name, view.name) not in views:
            continue
        try:
            with connection.transaction():
                refresh(connection, [view])
        except Failed as error:
            creation.warn(next(iter(creation.made)), [str(error)])
    _run(connection, creation, creation.security)
    if creation.problems:
        raise Failed("; ".join(text for texts in creation.problems.values() for text in texts))


def _take_default_grants(
    connection: Connection, relations: Collection[Name], functions: Collection[Name]
) -> None:
    """Take what default privileges gave away; the backup's own grants follow."""
    live = functions_now(connection) if functions else []
    oids = {
        "relations": [row["oid"] for row in relations_now(connection, relations).values()],
        "functions": [row["oid"] for row in live if (row["schema"], row["relation"]) in functions],
    }
    rows = connection.execute(query("given_by_default"), oids).fetchall()
    for row in rows:
        words = "GRANT ALL ON {} {} TO {}" if row["is_owner"] else "REVOKE ALL ON {} {} FROM {}"
        everybody = row["grantee"] is None
        who = sql.SQL("PUBLIC") if everybody else sql.Identifier(row["grantee"])
        connection.execute(sql.SQL(words).format(sql.SQL(row["kind"]), sql.SQL(row["name"]), who))
    # Everybody may execute a function unless the backup says otherwise.
    for name in dict.fromkeys(row["name"] for row in rows if row["kind"] == "ROUTINE"):
        connection.execute(sql.SQL("GRANT EXECUTE ON ROUTINE {} TO PUBLIC").format(sql.SQL(name)))


def _run(
    connection: Connection,
    creation: Creation,
    pieces: Sequence[Piece],
    *,
    strictly: bool = False,
) -> None:
    """Make objects one by one; what fails is a problem of its table, or beside it a warning."""
    for piece in pieces:
        if piece.table in creation.problems or piece.part_of in creation.failed:
            continue
        try:
            with connection.transaction():
                left_out = ddl_restore.apply(connection, [piece.entry])
                _refuse_other_owner(piece, left_out)
        except Failed as error:
            if strictly:
                raise
            if piece.is_beside:
                creation.warn(piece.table, [lost.without_problem(piece, str(error))])
                _leave_out(connection, creation, piece)
            else:
                creation.refuse(piece.table, str(error))
        else:
            creation.warn(piece.table, [f"left out: {text}" for text in left_out])
            creation.done += [piece] if piece.is_beside else []


def _refuse_other_owner(piece: Piece, left_out: Sequence[str]) -> None:
    """Raise Failed for what acts with the rights of its owner, and would be this role's own."""
    about_owner = [text for text in left_out if text.startswith("owner of ")]
    if not piece.is_beside or not about_owner:
        return
    said = [word.keyword for word in words(piece.entry.statements[0])]
    is_definer = ("SECURITY", "DEFINER") in pairwise(said)
    if is_definer or piece.entry.type in ("VIEW", "MATERIALIZED VIEW"):
        raise Failed(
            f"it belonged to {piece.entry.owner} and acts with the rights of its owner, whom this "
            f"role cannot make it again ({'; '.join(about_owner)})"
        )


def _leave_out(connection: Connection, creation: Creation, piece: Piece) -> None:
    """Do nothing more with a view or function that failed; half of a view goes again."""
    if piece.entry.type not in _WHOLE and not is_body_of_view(piece.entry):
        return
    creation.failed.add(piece.part_of)
    if piece.part_of not in creation.made_views:
        return
    # It was made in this transaction, and so was whatever is on it.
    view = sql.Identifier(*piece.part_of)
    connection.execute(sql.SQL("DROP VIEW {} CASCADE").format(view))
    there = {*relations_now(connection, creation.made_views)}
    there |= {(row["schema"], row["relation"]) for row in functions_now(connection)}
    for one in creation.done:
        name = one.part_of if one.part_of in creation.views else (one.entry.schema, one.entry.name)
        if one.entry.type in _WHOLE and name not in there and one.part_of not in creation.failed:
            creation.failed.add(one.part_of)
            text = f"it needs view {'.'.join(piece.part_of)}"
            creation.warn(one.table, [lost.without_problem(one, text)])
    creation.done = [one for one in creation.done if one.part_of not in creation.failed]
