"""What Dagster shows of our runs and assets, and what of it is not in words for people."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from backup_pipelines.backup_id import BackupId
from backup_pipelines.dagster_layer import labels, run_tags
from backup_pipelines.health.finding import span
from backup_pipelines.wording import how_long, size

# Events that no run has written are of this one.
_RUNLESS = ""

# From here on a number alone says little.
_MANY_BYTES, _MANY_SECONDS = 1000, 120

_RAW_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")
# A URL says that it is one, and so does a sentence; a key alone does not.
_OBJECT_KEY = re.compile(r"\w+/backups/[0-9]{8}T[0-9]{6}Z-\w+-[0-9a-f]{6}/\S*")

# Those of the sample system.
_MODULES = frozenset({"sales", "stock"})

# What says by its name that it is a place in the store.
_PLACES = {"path", "record", "dagster/uri"}

# The page of the backup itself, and the JSON that programs read.
_IS_ITS_OWN_NAME = {"id", "copy_of"}


@dataclass(frozen=True)
class Shown:
    """The metadata of one event, and where people see it."""

    where: str
    description: str
    metadata: Mapping[str, dg.MetadataValue[Any]]


def shown(instance: dg.DagsterInstance) -> Iterator[Shown]:
    """All metadata of an instance: of assets, checks, runs and failed steps."""
    for run_id in [_RUNLESS, *(run.run_id for run in instance.get_runs())]:
        for entry in instance.all_logs(run_id):
            if entry.dagster_event is not None:
                yield from _of_event(entry.dagster_event)


def problems(instance: dg.DagsterInstance) -> list[str]:
    """What is not in words: numbers that nobody explains, ids alone, raw times and keys."""
    found = {f"{one.where}: {said}" for one in shown(instance) for said in _problems(one)}
    for run in instance.get_runs():
        unknown = [tag for tag in run.tags if not run_tags.is_known(tag, "shop", _MODULES)]
        found |= {f"run of {run.job_name}: the tag {tag} is not explained" for tag in unknown}
    return sorted(found)


def _of_event(event: dg.DagsterEvent) -> Iterator[Shown]:
    match event.event_type:
        case dg.DagsterEventType.ASSET_MATERIALIZATION:
            found = event.step_materialization_data.materialization
            yield Shown(found.asset_key.to_user_string(), found.description or "", found.metadata)
        case dg.DagsterEventType.ASSET_OBSERVATION:
            seen = event.asset_observation_data.asset_observation
            yield Shown(seen.asset_key.to_user_string(), seen.description or "", seen.metadata)
        case dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            yield Shown(f"check {check.check_name}", check.description or "", check.metadata)
        case dg.DagsterEventType.STEP_OUTPUT:
            yield Shown(f"run of {event.job_name}", "", event.step_output_data.metadata)
        case dg.DagsterEventType.STEP_FAILURE:
            failure = event.step_failure_data.user_failure_data
            if failure is not None:
                where = f"failed run of {event.job_name}"
                yield Shown(where, failure.description or "", failure.metadata)
        case _:
            return


def _problems(one: Shown) -> Iterator[str]:
    numbers: dict[str, float] = {}
    texts = [one.description]
    for label, value in one.metadata.items():
        if isinstance(value, dg.IntMetadataValue | dg.FloatMetadataValue):
            yield from _of_number(label)
            numbers[label] = float(value.value or 0)
            continue
        if label not in labels.TEXTS:
            yield f"the label {label} is not explained"
        if isinstance(value, dg.TextMetadataValue | dg.MarkdownMetadataValue):
            text = str(value.value or "")
            texts.append(text)
            yield from _of_text(one, label, text)
        if isinstance(value, dg.TableMetadataValue):
            yield from _of_table(label, value)
    if set(numbers) - {"exit_code"} and not any(texts):
        yield f"nothing says {sorted(numbers)} in words"
    yield from _not_in_words(numbers, " ".join(texts))


def _of_number(label: str) -> Iterator[str]:
    known = labels.NUMBERS.get(label)
    if known is None:
        yield f"the number {label} is not explained"
    elif known.unit.replace(" ", "_") not in label:
        yield f"the number {label} does not say that it is {known.unit}"


def _of_text(one: Shown, label: str, text: str) -> Iterator[str]:
    if _RAW_TIME.search(text):
        yield f"{label} has a raw time: {text}"
    if label not in _PLACES and _OBJECT_KEY.fullmatch(text):
        yield f"{label} has the key of an object: {text}"
    is_named = label in _IS_ITS_OWN_NAME or f"{label}_is" in one.metadata
    if BackupId.is_valid(text) and not is_named:
        yield f"{label} is an id without a name: {text}"


def _of_table(label: str, value: dg.TableMetadataValue) -> Iterator[str]:
    for column in value.schema.columns:
        if column.type == "int" and column.name not in labels.COLUMNS:
            yield f"the number {column.name} of the table {label} is not explained"


def _not_in_words(numbers: Mapping[str, float], text: str) -> Iterator[str]:
    for label, number in numbers.items():
        known = labels.NUMBERS.get(label)
        unit = known.unit if known is not None else ""
        worded: Sequence[str] = ()
        if unit == labels.BYTES and abs(number) >= _MANY_BYTES:
            worded = [size(round(abs(number)))]
        if unit == labels.SECONDS and number >= _MANY_SECONDS:
            worded = [span(number), how_long(number)]
        if worded and not any(said in text for said in worded):
            yield f"{label} is {number} and nobody says {' or '.join(worded)}"
