"""The pages say what the code does, all of it and nothing else; their examples are run next door.

`test_docs_examples.py` runs what format.md, recovery.md and the README tell people to type.
"""

import ast
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import click
import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from backup_pipelines import drill_record, environment, manifest, systems
from backup_pipelines.cli.__main__ import cli
from backup_pipelines.dagster_layer import labels, module_metadata, run_tags
from backup_pipelines.dagster_layer.config import (
    AcknowledgeConfig,
    CsvExportConfig,
    CsvTemplateConfig,
    DeleteConfig,
    LinkConfig,
    LiveRestoreConfig,
    NamedBackup,
    PlanConfig,
    PruneConfig,
    QueryConfig,
    ReconcileConfig,
    ReencryptConfig,
    UndoConfig,
    UploadConfig,
)
from backup_pipelines.dagster_layer.config_csv_import import CsvImportConfig, CsvPlanConfig
from backup_pipelines.dagster_layer.config_timeline import DiffConfig, HistoryConfig
from backup_pipelines.module_cards import Card, LastBackup
from backup_pipelines.postgres import types
from backup_pipelines.postgres.queries import query
from backup_pipelines.postgres.row_counts import RowCount
from backup_pipelines.system import System
from backup_pipelines.trail import audit

PROJECT = Path(__file__).resolve().parent.parent
README = PROJECT / "README.md"
PAGES = [README, PROJECT / "CHANGELOG.md", *sorted((PROJECT / "docs").glob("*.md"))]

_SPAN = re.compile(r"`([^`\n]+)`")
_FENCE = re.compile(r"^ *```\w*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^ *(?:\$ )?(backup-pipelines .*)$", re.MULTILINE)

# Options that `main` or click itself handle.
_EVERYWHERE = {"--help", "--debug"}


def section(page: Path, heading: str) -> str:
    """The text under a heading, up to the next one of any level."""
    found = re.search(
        rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", page.read_text(), re.MULTILINE | re.DOTALL
    )
    assert found, f"{page.name} has no heading {heading}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of the table in a section, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in lines[2:]]


def code(cell: str) -> str:
    """What the first code span of a cell says."""
    found = _SPAN.search(cell)
    assert found, f"{cell!r} names no code"
    return found[1]


def command_lines() -> Iterator[tuple[str, str]]:
    """Every command line of the product that a page shows, with the page's name."""
    for page in PAGES:
        text = page.read_text()
        fenced = (block for block in _FENCE.findall(text))
        spans = _SPAN.findall(_FENCE.sub("", text))
        found = chain.from_iterable(_COMMAND.findall(block) for block in fenced)
        for line in chain(found, (s for s in spans if s.startswith("backup-pipelines "))):
            yield page.name, line


def words(line: str) -> list[str]:
    """The arguments of a command line; what is optional counts as given."""
    return shlex.split(re.sub(r"[\[\]]|\.\.\.", "", line), comments=True)[1:]


def documented_commands() -> Mapping[str, list[str]]:
    """Each command of the README's table with all its arguments."""
    found: dict[str, list[str]] = {}
    for row in rows(section(README, "Commands")):
        first, *rest = words(code(row[0]))
        # A group has a row for each of its commands.
        found.setdefault(first, []).extend(rest)
    return found


def options(command: click.Command) -> set[str]:
    """The options of a command, in full; of a group those of its commands."""
    if isinstance(command, click.Group) and command is not cli:
        return set(chain.from_iterable(map(options, command.commands.values())))
    return {name for p in command.params for name in p.opts if name.startswith("--")}


def test_the_readme_lists_every_command_and_no_other() -> None:
    """The README's table has exactly the commands that there are."""
    assert set(documented_commands()) == set(cli.commands)


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_the_readme_lists_every_option_and_no_other(name: str) -> None:
    """A command's row in the README has exactly its options."""
    named = {word for word in documented_commands()[name] if word.startswith("--")}
    assert named == options(cli.commands[name])


def test_options_of_the_program_are_in_the_readme() -> None:
    """What goes before or with any command is named under the heading Commands."""
    spans = " ".join(_SPAN.findall(section(README, "Commands")))
    assert options(cli) | _EVERYWHERE <= set(spans.split())


@pytest.mark.parametrize(("page", "line"), sorted(set(command_lines())))
def test_every_command_line_in_the_pages_parses(page: str, line: str) -> None:
    """What a page tells people to type is understood by the program."""
    first, *rest = words(line)
    if first.startswith("--"):
        assert first in options(cli), page
        return
    assert first in cli.commands, page
    arguments = [word for word in rest if word not in _EVERYWHERE]
    command = cli.commands[first]
    if isinstance(command, click.Group):
        first, *arguments = arguments
        assert first in command.commands, page
        command = command.commands[first]
    command.make_context(first, arguments)


def package() -> list[ast.Module]:
    """The syntax trees of the package."""
    return [ast.parse(path.read_text()) for path in PROJECT.glob("backup_pipelines/**/*.py")]


def variables_read() -> set[str]:
    """The environment variables that the package names, the YAML files' and dagster.yaml's too."""
    trees = package()
    nodes = list(chain.from_iterable(ast.walk(tree) for tree in trees))
    constants = {
        target.id: node.value.value
        for node in chain.from_iterable(tree.body for tree in trees)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    asked: list[ast.expr] = []
    for node in nodes:
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.environ.get", "os.getenv"):
            asked.append(node.args[0])
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            asked.append(node.slice)
    found = {n.value for n in asked if isinstance(n, ast.Constant)}
    found |= {constants[n.id] for n in asked if isinstance(n, ast.Name) and n.id in constants}
    for system in systems.load_systems(environment.defs_folder()).values():
        found |= {system.database_url_env, system.restore_url_env} - {""}
        found |= {system.drill.server_url_env} - {""}
        log = system.activity_log
        found |= {log.database_url_env} if log else set()
        found |= {system.heartbeat_url_env, *(n.urls_env for n in system.notifications)} - {""}
    found |= set(re.findall(r"env: ([A-Z_]+)", (PROJECT / "dagster.yaml").read_text()))
    return found


def test_the_readme_lists_every_environment_variable_and_no_other() -> None:
    """The README's table has what the code reads, and of the rest only what S3 clients read."""
    cells = [row[0] for row in rows(section(README, "Environment variables"))]
    named = set(_SPAN.findall(" ".join(cells)))
    assert variables_read() <= named
    assert all(name.startswith("AWS_") for name in named - variables_read())


_SECTIONS = [field.annotation for field in System.model_fields.values()]


def keys(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key of a YAML section and of those below, as operations.md writes them."""
    for name, field in model.model_fields.items():
        yield above + name, field
        kind: Any = field.annotation
        marks = {list: "[]", dict: ".NAME"}
        place = above + name + marks.get(getattr(kind, "__origin__", None), "")
        inners = [inner for inner in get_args(kind) or (kind,) if inner is not NoneType]
        # What may be left out and is like a section of the system itself is described there.
        is_repeated = NoneType in get_args(kind) and inners[-1] in _SECTIONS
        inner = inners[-1]
        if isinstance(inner, type) and issubclass(inner, BaseModel) and not is_repeated:
            yield from keys(inner, f"{place}.")


def made_of_sections(default: Any) -> bool:
    """Whether a default holds sections, whose keys have rows and defaults of their own."""
    inside = default.values() if isinstance(default, dict) else default
    found = inside if isinstance(default, (dict, list)) else [default]
    return any(isinstance(each, BaseModel) for each in found)


def test_operations_lists_every_yaml_key_with_its_default_and_no_other() -> None:
    """The table of keys is that of the model, in its order, with the same defaults."""
    listed = rows(section(PROJECT / "docs/operations.md", "The YAML of a system"))
    said = {code(row[0]): row[1].strip("`") for row in listed}
    meant = dict(keys(System))
    assert list(said) == list(meant)
    for name, field in meant.items():
        default = field.get_default(call_default_factory=True)
        if field.is_required():
            assert said[name] == "required", name
        elif not made_of_sections(default):
            assert said[name] == ("" if default is None else str(default)), name


def test_operations_lists_every_field_of_the_restore_jobs_and_no_other() -> None:
    """The table of config fields is that of the three configs, each with its jobs."""
    listed = rows(section(PROJECT / "docs/operations.md", "The jobs"))
    said = {code(row[0]): set(row[1].split(", ")) for row in listed}
    configs = {"plan": PlanConfig, "restore": LiveRestoreConfig, "undo": UndoConfig}
    names = set(chain.from_iterable(config.model_fields for config in configs.values()))
    assert said == {
        name: {job for job, config in configs.items() if name in config.model_fields}
        for name in names
    }


def test_operations_lists_every_field_of_the_housekeeping_jobs_and_no_other() -> None:
    """The table of config fields is that of their configs, each with its jobs."""
    listed = rows(section(PROJECT / "docs/operations.md", "The housekeeping jobs"))
    said = {code(row[0]): set(row[1].split(", ")) for row in listed}
    configs = {
        "prune": PruneConfig,
        "delete": DeleteConfig,
        "pin": NamedBackup,
        "unpin": NamedBackup,
        "reconcile": ReconcileConfig,
        "acknowledge": AcknowledgeConfig,
    }
    names = set(chain.from_iterable(config.model_fields for config in configs.values()))
    assert said == {
        name: {job for job, config in configs.items() if name in config.model_fields}
        for name in names
    }


def test_operations_lists_every_field_of_the_csv_jobs_and_no_other() -> None:
    """The table of config fields is that of their configs, each with its jobs."""
    listed = rows(section(PROJECT / "docs/operations.md", "The CSV jobs"))
    said = {code(row[0]): set(row[1].split(", ")) for row in listed}
    configs = {"export": CsvExportConfig, "template": CsvTemplateConfig}
    names = set(chain.from_iterable(config.model_fields for config in configs.values()))
    assert said == {
        name: {job for job, config in configs.items() if name in config.model_fields}
        for name in names
    }


def test_operations_lists_every_field_of_the_import_jobs_and_no_other() -> None:
    """The table of config fields is that of both configs, each with its jobs."""
    listed = rows(section(PROJECT / "docs/operations.md", "The import jobs"))
    said = {code(row[0]): set(row[1].split(", ")) for row in listed}
    configs = {"plan": CsvPlanConfig, "import": CsvImportConfig}
    assert said == {
        name: {job for job, config in configs.items() if name in config.model_fields}
        for name in CsvImportConfig.model_fields
    }


def test_operations_lists_every_field_of_the_query_job_and_no_other() -> None:
    """The table of config fields is that of its config."""
    listed = rows(section(PROJECT / "docs/operations.md", "The query job"))
    assert {code(row[0]) for row in listed} == set(QueryConfig.model_fields)


def test_operations_lists_every_field_of_the_history_and_diff_jobs_and_no_other() -> None:
    """The table of config fields is that of their configs, each with its jobs."""
    listed = rows(section(PROJECT / "docs/operations.md", "The history and diff jobs"))
    said = {code(row[0]): set(row[1].split(", ")) for row in listed}
    configs = {"history": HistoryConfig, "diff": DiffConfig}
    names = set(chain.from_iterable(config.model_fields for config in configs.values()))
    assert said == {
        name: {job for job, config in configs.items() if name in config.model_fields}
        for name in names
    }


def test_operations_lists_what_a_module_page_shows_and_no_other() -> None:
    """The table of a page has each entry of its metadata."""
    listed = rows(section(PROJECT / "docs/operations.md", "Module pages"))
    said = set(_SPAN.findall(" ".join(row[0] for row in listed)))
    card = Card(
        "sales",
        ("public.deals",),
        {"public.deals": RowCount(1, is_exact=True)},
        LastBackup("id", "manual", datetime.now(UTC), 1, 1),
    )
    before = module_metadata.of_restore("crm", "id", datetime.now(UTC))
    system = systems.load_system("crm")
    shown = module_metadata.of_card(system, card, before)
    assert said == {name for name in shown if not name.startswith("dagster/")}


def test_operations_lists_every_number_of_the_ui_with_its_unit_and_no_other() -> None:
    """The table of labels is that of the code, and so is the table of tags."""
    listed = rows(section(PROJECT / "docs/operations.md", "Numbers in the UI"))
    assert [(code(row[0]), row[1]) for row in listed] == [
        (label, about.unit) for label, about in labels.NUMBERS.items()
    ]
    tags = rows(section(PROJECT / "docs/operations.md", "Find runs"))
    assert [code(row[0]) for row in tags] == list(run_tags.NAMES)


def test_operations_lists_every_field_of_the_upload_job_and_no_other() -> None:
    """The table of config fields is that of its config."""
    listed = rows(section(PROJECT / "docs/operations.md", "The upload job"))
    assert [code(row[0]) for row in listed] == list(UploadConfig.model_fields)


def test_operations_lists_every_field_of_the_link_job_and_no_other() -> None:
    """The table of config fields is that of its config."""
    listed = rows(section(PROJECT / "docs/operations.md", "The link job"))
    assert [code(row[0]) for row in listed] == list(LinkConfig.model_fields)


def test_operations_lists_every_field_of_the_reencrypt_job_and_no_other() -> None:
    """The table of config fields is that of its config."""
    listed = rows(section(PROJECT / "docs/operations.md", "The reencrypt job"))
    assert {code(row[0]) for row in listed} == set(ReencryptConfig.model_fields)


def test_contributing_names_every_module_of_the_package_and_no_other() -> None:
    """The map of the code has every Python file, after the name of its folder."""
    package = PROJECT / "backup_pipelines"
    told: set[str] = set()
    for row in rows(section(PROJECT / "docs/contributing.md", "Map of the code")):
        folder = ""
        for span in _SPAN.findall(row[1]):
            if span.endswith("/"):
                folder = span
            else:
                told.add(span if "." in span else f"{folder}{span}.py")
    whole = {"components/", "demo/"}
    found = {str(path.relative_to(package)) for path in package.rglob("*.py")}
    found = {name for name in found if not name.endswith("__init__.py")}
    found = {name for name in found if not name.startswith(tuple(whole))}
    assert found == {name for name in told if name.endswith(".py")}


def test_contributing_lists_every_make_target_and_no_other() -> None:
    """The table of targets is that of the Makefile, and no page names another target."""
    found = re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    intro = (PROJECT / "docs/contributing.md").read_text().partition("\n## ")[0]
    assert {code(row[0]).removeprefix("make ") for row in rows(intro)} == set(found)
    for page in PAGES:
        text = page.read_text()
        lines = [*_SPAN.findall(text), *re.findall(r"^ *(?:\$ )?(make \w+)$", text, re.MULTILINE)]
        named = {line.split()[1] for line in lines if re.fullmatch(r"make [a-z]+", line)}
        assert named <= set(found), page.name


_RECORDS = [
    *(manifest.Manifest, manifest.Table, manifest.Column, manifest.Part, manifest.ForeignKey),
    *(manifest.Sequence, manifest.View, manifest.DdlSection, manifest.DdlObject),
    manifest.Reuse,
    *(manifest.Excluded, manifest.Encryption, manifest.Document, drill_record.DrillResult),
    *(audit.Record,),
]


@pytest.mark.parametrize("model", _RECORDS, ids=lambda model: model.__name__)
def test_format_lists_every_field_and_no_other(model: type[BaseModel]) -> None:
    """A record's table in format.md has exactly its fields, in the order of the JSON."""
    listed = rows(section(PROJECT / "docs/format.md", model.__name__))
    fields = [field.alias or name for name, field in model.model_fields.items()]
    assert [code(row[0]) for row in listed] == fields


def test_format_describes_every_record_of_the_manifest() -> None:
    """No model of the manifest is left out above."""
    found = (made for made in vars(manifest).values() if isinstance(made, type))
    models = {made for made in found if issubclass(made, BaseModel)} - {BaseModel}
    public = {made for made in models if not made.__name__.startswith("_")}
    assert public == set(_RECORDS) - {drill_record.DrillResult, audit.Record}


def test_format_lists_every_native_type_as_it_is_stored_and_hashed() -> None:
    """The table of encodings has each type's encoding, Arrow type and hash expression."""
    listed = rows(section(PROJECT / "docs/format.md", "Encodings"))
    said = {code(row[0]): (row[1], code(row[2]), code(row[3])) for row in listed[:-3]}
    assert set(said) == set(types._NATIVE)
    for name, documented in said.items():
        codec = types.codec_for(
            base_schema="pg_catalog", base_name=name, base_kind="b", type_mod=-1
        )
        hashed = codec.hashed.replace("pg_catalog.", "").replace("{0}", "{}")
        assert documented == (codec.encoding, str(codec.arrow), hashed)


def test_format_lists_the_settings_of_every_session() -> None:
    """The settings that decide how values print are those that sessions are given."""
    block = _FENCE.findall(section(PROJECT / "docs/format.md", "Encodings"))[-1]
    said = {name: value.strip("'") for name, value in re.findall(r"SET (\w+) TO ([^;]+);", block)}
    given = dict(re.findall(r"set_config\('(\w+)', '([^']*)'", query("settings")))
    assert said.pop("client_encoding") == "UTF8"
    assert said.items() <= given.items()
    others = {name for name in given.keys() - said.keys() if not re.search("timeout|tcp_", name)}
    assert others == {"synchronize_seqscans", "jit"}


def anchors(page: Path) -> set[str]:
    """What a link into a page can point at, as GitHub makes it of headings."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_resolve(page: Path) -> None:
    """Every link leads to a file that exists and a heading that it has."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.is_file(), target
        assert not anchor or anchor in anchors(found), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_the_pages_name_exist(page: Path) -> None:
    """A Python file in a code span is a file of the project."""
    made = {"load.py"}  # by the reader of recovery.md
    for span in _SPAN.findall(_FENCE.sub("", page.read_text())):
        if re.fullmatch(r"[\w/]+\.py", span) and span not in made:
            assert list(PROJECT.glob(f"backup_pipelines*/**/{Path(span).name}")), span


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_use_one_word_for_one_thing(page: Path) -> None:
    """A backup is called backup, whatever other tools call it."""
    text = _SPAN.sub("", _FENCE.sub("", page.read_text()))
    others = r"\b(dumps?|checkpoints?|restore points?|snapshots|backup sets?)\b"
    assert re.findall(others, text, re.IGNORECASE) == []


def tracked() -> list[Path]:
    """The files that belong to the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    found = [PROJECT / name for name in done.stdout.split("\0") if name]
    return [path for path in found if path.is_file() and path.suffix not in {".png", ".parquet"}]


def test_no_file_names_a_package_index() -> None:
    """Where packages come from is each machine's own business."""
    names = [
        "py" + "pi.",
        "python" + "hosted",
        "index" + "-url",
        "find" + "-links",
        "/sim" + "ple/",
    ]
    wrong = [
        (path.name, name)
        for path in tracked()
        for name in names
        if name in path.read_text(errors="replace").lower()
    ]
    assert wrong == []
