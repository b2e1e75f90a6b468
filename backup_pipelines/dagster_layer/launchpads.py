"""Addresses of launchpads with their config filled in.

What people must type themselves, such as CONFIRM, is never filled in.
"""

import json
from collections.abc import Mapping, Sequence
from urllib.parse import quote_plus, urlencode

import dagster as dg

from backup_pipelines.dagster_layer import job_names

LAST = ""
"""Where a comment is that stands below all fields."""

# Longer ones do not fit into the launchpad.
CONFIRM: Mapping[str, str] = {LAST: "Left out on purpose: confirm, with the word that it asks for."}
"""The comment of what destroys."""

WHICH: Mapping[str, str] = {"backup": "The newest full backup; or write the id of another one."}
"""The comment of a backup that nobody has chosen."""

# They are no part of the syntax of an address, nor of markdown, and every character counts:
# Dagster shows a thousand, and hides what is longer behind a click.
_PLAIN = ":,/"

Comments = Mapping[str, str]


def launchpad(
    job: str,
    config: Mapping[str, object],
    comments: Comments | None = None,
    assets: Sequence[dg.AssetKey] = (),
) -> str:
    """The address of a job's launchpad with this config; `comments` stand above their field.

    Dagster finds the job whatever the code location is called. Of a job of assets `assets` are
    those that are made.
    """
    fields = [("config", _yaml(job_names.op_of(job), config, comments or {}))]
    for number, key in enumerate(assets):
        name = f"assetSelection[{number}][assetKey][path]"
        fields += [(f"{name}[{place}]", part) for place, part in enumerate(key.path)]
    query = urlencode(fields, safe=_PLAIN, quote_via=quote_plus)
    return f"/guess/{job}/playground/setup?{query}"


def link(address: str, text: str = "open") -> str:
    """The address as markdown; nothing for none."""
    return f"[{text}]({address})" if address else ""


def _yaml(op: str, config: Mapping[str, object], comments: Comments) -> str:
    """The run config as people edit it; JSON's values are YAML's too."""
    if not config and not comments:
        return ""
    lines = ["ops:", f"  {op}:", "    config:"]
    for name, value in config.items():
        if name in comments:
            lines.append(f"      # {comments[name]}")
        lines.append(f"      {name}: {json.dumps(value)}")
    if LAST in comments:
        lines.append(f"      # {comments[LAST]}")
    return "\n".join(lines) + "\n"
