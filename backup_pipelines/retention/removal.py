"""Removing one backup, in steps that can be taken up again after a kill at any point.

First it is written down what shall go, then the manifest goes (from then on there is no backup),
then its objects but those that other manifests name, then a listing confirms that nothing is left.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from backup_pipelines import catalog, layout, state_log
from backup_pipelines.errors import Damaged, Failed
from backup_pipelines.manifest import is_sealed
from backup_pipelines.progress import Report
from backup_pipelines.state_log import State
from backup_pipelines.storage.reading import read_all
from backup_pipelines.storage.store import Store
from backup_pipelines.wording import moment

BUILDS_ON = "builds_on"
"""In the marker of a backup in progress: the one whose parts it may name."""

_WHOLE = "the backup stays whole and counts as before"


@dataclass(frozen=True)
class Removed:
    """What has gone, or the store's words why something is still there."""

    id: str
    objects: int
    bytes: int
    problem: str = ""
    kept: int = 0
    """Objects that stay, since other backups name them."""


def remove(
    store: Store,
    system: str,
    backup_id: str,
    *,
    operator: str,
    reason: str,
    why: str,
    report: Report,
) -> Removed:
    """Remove a backup; a store that refuses is in the result, not raised.

    If it refuses the manifest, the backup stays whole and counts as before. Raises Failed, with
    nothing touched, when the store cannot be read or does not take the note.
    """
    found = _objects(store, system, backup_id)
    # Before anything is touched: whoever cannot read the other manifests does not know what
    # they need.
    prefix = layout.backups_prefix(system)
    known = _named_by(store, system, prefix, _others(store, system, backup_id))
    content = {"operator": operator, "reason": reason, "why": why, "objects": found}
    state_log.append(store, system, "removals", backup_id, catalog.STARTED, content)
    # After the note: a backup that begins now sees it, and builds on another one.
    builder = _builder(store, system, backup_id)
    if builder:
        said = (
            f"backup {builder}, which has begun and is not finished, may name its parts: try again "
            "when that is done; what a killed one has left is cleared by the next backup"
        )
        withdraw(store, system, backup_id, operator=operator, reason=said)
        report(f"not removed, backup {backup_id}: {said}")
        return Removed(backup_id, 0, 0, f"{said}; {_WHOLE}")
    # One that was in progress until here may have its manifest now; the others' never change.
    rest = [other for other in _others(store, system, backup_id) if not known.get(other)]
    known |= _named_by(store, system, prefix, rest)
    return _finish(store, system, backup_id, content, set[str]().union(*known.values()), report)


def resume(
    store: Store, system: str, *, operator: str, report: Report, sealed: bool = True
) -> list[Removed]:
    """Finish the removals that were begun, and try again what the store had refused to remove.

    Without `sealed` those whose manifest is still there are left as they are.
    """
    done: list[Removed] = []
    for state in _open(store, system):
        is_sealed = store.exists(layout.manifest_key(system, state.subject))
        if is_sealed and (not sealed or _builder(store, system, state.subject)):
            continue
        content = {**state_log.content(store, state), "resumed_by": operator}
        needed = in_use(store, system, layout.backups_prefix(system), but=state.subject)
        done.append(_finish(store, system, state.subject, content, needed, report))
    return done


def unfinished(store: Store, system: str) -> dict[str, str]:
    """Ids of the backups of which something is still there, and how far their removal has got."""
    return {state.subject: _how_far(store, state) for state in _open(store, system)}


def withdraw(store: Store, system: str, backup_id: str, *, operator: str, reason: str) -> None:
    """Give up a removal that was begun, of a backup whose manifest is still there."""
    content = {"operator": operator, "reason": reason}
    state_log.append(store, system, "removals", backup_id, catalog.WITHDRAWN, content)


def in_use(store: Store, system: str, prefix: str, *, but: str = "") -> set[str]:
    """Keys under `prefix` that a manifest names, that of backup `but` aside.

    The text is searched instead of parsed: what a damaged or newer manifest names counts too.
    """
    found = _named_by(store, system, prefix, _others(store, system, but))
    return set[str]().union(*found.values())


def _others(store: Store, system: str, backup_id: str) -> list[str]:
    return [other for other in catalog.ids(store, system) if other != backup_id]


def _named_by(
    store: Store, system: str, prefix: str, backup_ids: Sequence[str]
) -> dict[str, set[str]]:
    """What each backup names under `prefix`; of one without a manifest, nothing."""

    def read(backup_id: str) -> set[str]:
        return _named(store, layout.manifest_key(system, backup_id), prefix)

    return dict(zip(backup_ids, read_all(read, backup_ids), strict=True))


def _builder(store: Store, system: str, backup_id: str) -> str:
    """The id of a backup in progress that may name this one's parts; empty if there is none."""

    def builds_on_it(other: str) -> bool:
        marker = layout.started_key(system, other)
        if store.exists(layout.manifest_key(system, other)) or not store.exists(marker):
            return False
        with suppress(ValueError, Damaged):
            return json.loads(store.get(marker)).get(BUILDS_ON) == backup_id
        # In doubt it does.
        return True

    ids = catalog.ids(store, system)
    found = zip(ids, read_all(builds_on_it, ids), strict=True)
    return next((other for other, does in found if does), "")


def _finish(
    store: Store,
    system: str,
    backup_id: str,
    begun: Mapping[str, Any],
    needed: Collection[str],
    report: Report,
) -> Removed:
    """Everything after the note; each step finds done what was done before a kill."""
    # What is noted later says how it went on, not when and how it was.
    content = {k: v for k, v in begun.items() if k not in ("subject", "state", "at", "problem")}
    sizes: dict[str, int] = dict(begun["objects"])
    manifest_key = layout.manifest_key(system, backup_id)
    problem = _delete(store, [manifest_key])
    # An answer that was lost says nothing; the object does.
    if store.exists(manifest_key):
        said = f"{problem or store.uri(manifest_key) + ' cannot be removed'}; " + _WHOLE
        return _refused(store, system, backup_id, content, Removed(backup_id, 0, 0, said), report)
    there = _still_there(store, system, backup_id, sizes)
    problem = _delete(store, [key for key in there if key not in needed])
    there = _still_there(store, system, backup_id, sizes)
    left = [key for key in there if key not in needed]
    gone = sizes.keys() - there
    removed = Removed(
        backup_id, len(gone), sum(sizes[key] for key in gone), kept=len(there) - len(left)
    )
    if left:
        said = problem or f"{store.uri(left[0])} is still there after it was deleted"
        return _refused(store, system, backup_id, content, replace(removed, problem=said), report)
    holders = {layout.backup_id_of(system, key) for key in sizes}
    _drop_empty_folders(store, system, {backup_id, *holders})
    shown = {"removed": removed.objects, "bytes": removed.bytes, "kept": there}
    state_log.append(store, system, "removals", backup_id, catalog.DONE, {**content, **shown})
    also = f"; {removed.kept} stay, which other backups name" if removed.kept else ""
    report(f"removed backup {backup_id}: {removed.objects} objects, {removed.bytes:,} bytes{also}")
    return removed


def _refused(
    store: Store,
    system: str,
    backup_id: str,
    content: Mapping[str, Any],
    removed: Removed,
    report: Report,
) -> Removed:
    noted = {**content, "problem": removed.problem}
    state_log.append(store, system, "removals", backup_id, catalog.REFUSED, noted)
    report(f"not removed, backup {backup_id}: {removed.problem}")
    return removed


def _delete(store: Store, keys: list[str]) -> str:
    """Delete what the store lets go of; returns its words about the first that it does not."""
    problems: list[str] = []
    for key in keys:
        try:
            store.delete([key])
        except Failed as error:
            problems.append(str(error))
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return problems[0] + more if problems else ""


def _objects(store: Store, system: str, backup_id: str) -> dict[str, int]:
    """Key to bytes of what belongs to a backup: its folder, and parts that it has inherited.

    A part in the folder of a backup that is gone was kept for those that name it.
    """
    found = {o.key: o.size_bytes for o in store.objects(layout.backup_prefix(system, backup_id))}
    named = _named(
        store, layout.manifest_key(system, backup_id), layout.backups_prefix(system)
    ) - set(found)
    folders = {layout.backup_id_of(system, key) for key in named}
    for folder in sorted(folders):
        if store.exists(layout.manifest_key(system, folder)):
            continue
        for item in store.objects(layout.backup_prefix(system, folder)):
            if item.key in named:
                found[item.key] = item.size_bytes
    return found


def _still_there(store: Store, system: str, backup_id: str, sizes: Mapping[str, int]) -> list[str]:
    """What a listing shows of the folder, and which inherited parts there still are."""
    prefix = layout.backup_prefix(system, backup_id)
    folder = [item.key for item in store.objects(prefix)]
    inherited = [key for key in sizes if not key.startswith(prefix) and store.exists(key)]
    return sorted([*folder, *inherited])


def _drop_empty_folders(store: Store, system: str, backup_ids: set[str]) -> None:
    """A store that is a folder keeps folders without objects, which look like leftovers."""
    for backup_id in sorted(backup_ids):
        prefix = layout.backup_prefix(system, backup_id)
        if next(iter(store.objects(prefix)), None) is None:
            store.delete_folder(prefix)


def _named(store: Store, manifest_key: str, prefix: str) -> set[str]:
    """Keys under `prefix` that a manifest's text has; none where there is no manifest."""
    try:
        text = store.get(manifest_key)
        if not is_sealed(text):
            # If that is only this answer, what the next one names is needed.
            text += store.get(manifest_key)
    except Damaged:
        return set()
    # Keys are made of characters that JSON does not escape (layout.py).
    found = re.findall(rb'"(' + re.escape(prefix.encode()) + rb'[^"\\]+)"', text)
    return {key.decode(errors="replace") for key in found}


def _open(store: Store, system: str) -> list[State]:
    """Removals without an end, oldest backup first; one whose manifest was refused has ended."""
    found = state_log.latest(store, system, "removals").values()
    return sorted(
        (
            state
            for state in found
            if state.state == catalog.STARTED
            or (
                state.state == catalog.REFUSED
                and not store.exists(layout.manifest_key(system, state.subject))
            )
        ),
        key=lambda state: state.subject,
    )


def _how_far(store: Store, state: State) -> str:
    content = state_log.content(store, state)
    if state.state == catalog.REFUSED:
        return f"no backup any more, but the store keeps objects of it: {content.get('problem')}"
    return f"begun at {moment(state.at)} by {content.get('operator')}, not finished"
