"""docs/performance.md, made of what was measured."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from benchmarks.figures import ENOUGH_RUNS, Figure, Grid, Taken
from benchmarks.measuring import PROJECT
from benchmarks.others import LIMIT

# Times the demo.
FULL_SCALE = 100.0


def render(taken: Mapping[str, Taken], names: Sequence[str]) -> str:
    """The whole page; sections in the order of the mapping. `names` are those of all benchmarks."""
    parts = [_text("head").replace("HOW", how(taken, names)), _goals(taken)]
    for one in taken.values():
        parts.append(_section(one))
    parts.append(_text("tried"))
    parts.append(_text("reproduce").replace("NAMES", "`, `".join(names)))
    parts.append(_places(taken))
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _text(name: str) -> str:
    """What is said before the numbers."""
    return (PROJECT / "benchmarks" / "texts" / f"{name}.md").read_text()


def number(value: float) -> str:
    """A number with as many digits as say something."""
    size = abs(value)
    if 0 < size < 0.1:
        return f"{value:.4f}"
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if size >= 10 else f"{value:,.2f}"


def _goals(taken: Mapping[str, Taken]) -> str:
    found = [
        (one, figure)
        for one in taken.values()
        for figure in one.section.figures
        if figure.goal is not None
    ]
    rows = tuple(
        (
            figure.what,
            "" if figure.judged is None else _with_unit(figure.judged, figure),
            f"at {'least' if figure.at_least else 'most'} {_with_unit(figure.goal or 0, figure)}",
            met(one, figure),
        )
        for one, figure in found
    )
    return "## Goals\n\n" + table(Grid("", ("figure", "found", "goal", "met"), rows))


def met(one: Taken, figure: Figure) -> str:
    """Whether a goal is met, or why nobody can tell."""
    if figure.is_met is None:
        return "not measured"
    if figure.is_of_time and one.why_not_judged:
        return f"not judged: {one.why_not_judged}"
    return "yes" if figure.is_met else "no"


def how(taken: Mapping[str, Taken], names: Sequence[str]) -> str:
    """What sizes and how many runs the numbers are of, which of them where they differ."""
    ways: dict[str, list[str]] = {}
    for name, one in taken.items():
        ways.setdefault(_how(one), []).append(name)
    if len(ways) == 1:
        lines = [f"Measured {way}." for way in ways]
    else:
        lines = [f"Measured {way}: {', '.join(those)}." for way, those in ways.items()]
    lacking = [name for name in names if name not in taken]
    if lacking:
        lines.append(f"Not measured: {', '.join(lacking)}.")
    if any(one.scale < FULL_SCALE for one in taken.values()):
        lines.append(
            f"A full run is at {FULL_SCALE:g} times the demo, of which the goals are: what is "
            "smaller says less, since what it costs to start counts for more."
        )
    if any(one.why_not_judged for one in taken.values()):
        lines.append(
            f"Goals of seconds are judged where there are at least {ENOUGH_RUNS} runs and others "
            f"used at most {LIMIT:g} cores meanwhile (see Machine): do not trust the other seconds."
        )
    return "\n".join(lines)


def _how(one: Taken) -> str:
    return f"at {one.scale:g} times the demo, {_runs(one)}"


def _runs(one: Taken) -> str:
    return "one run" if one.repeats == 1 else f"medians of {one.repeats} runs"


def _with_unit(value: float, figure: Figure) -> str:
    return f"{number(value)} times" if figure.against else f"{number(value)} {figure.unit}"


def _section(one: Taken) -> str:
    section = one.section
    lines = [f"## {section.title}", "", _text(section.name)]
    if section.figures:
        rows = tuple(
            (
                figure.what,
                f"{number(figure.value)} {figure.unit}",
                _against(figure),
                "" if figure.ratio is None else number(figure.ratio),
            )
            for figure in section.figures
        )
        lines += [table(Grid("", ("figure", "ours", "against", "ratio"), rows))]
    for grid in section.grids:
        lines += [f"**{grid.title}**", "", table(grid)]
    lines += [f"{note}\n" for note in section.notes]
    at = datetime.strptime(one.at, "%Y-%m-%d %H:%M").strftime("%d %B %Y, %H:%M UTC")
    lines.append(f"Measured on {at} {_how(one)}, in {one.seconds:.0f} s.")
    return "\n".join(lines)


def _against(figure: Figure) -> str:
    if not figure.against:
        return ""
    if figure.against_value is None:
        return f"{figure.against}: not to be had"
    return f"{number(figure.against_value)} {figure.unit}, {figure.against}"


def _places(taken: Mapping[str, Taken]) -> str:
    heads = ("benchmark", "measured (UTC)", "times the demo", "runs", "cores used by others")
    rows = tuple(
        (
            name,
            one.at,
            f"{one.scale:g}",
            str(one.repeats),
            "" if one.others is None else number(one.others),
        )
        for name, one in taken.items()
    )
    lines = ["## Machine", "", table(Grid("", heads, rows)), _text("machine")]
    places: dict[str, list[str]] = {}
    for name, one in taken.items():
        described = f"{_listed(one.machine)}. {_listed(one.versions)}."
        places.setdefault(described, []).append(name)
    for described, names in places.items():
        lines.append(described if len(places) == 1 else f"{', '.join(names)}: {described}")
        lines.append("")
    return "\n".join(lines)


def _listed(found: Mapping[str, str]) -> str:
    return "; ".join(f"{name} {said}" for name, said in found.items())


def table(grid: Grid) -> str:
    """A table of Markdown."""
    lines = [f"| {' | '.join(grid.heads)} |", f"|{'---|' * len(grid.heads)}"]
    lines += [f"| {' | '.join(row)} |" for row in grid.rows]
    return "\n".join(lines) + "\n"
