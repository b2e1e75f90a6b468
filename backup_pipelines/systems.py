"""Finds and loads the systems of `defs/*/defs.yaml` without Dagster, for the command line.

Every problem names file, line and field. Dagster loads the same files through the same model.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import NoneType
from typing import Any, cast, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from backup_pipelines import environment
from backup_pipelines.errors import NotFound, Refused
from backup_pipelines.system import System

Location = tuple[str | int, ...]

COMPONENT = "backup_pipelines.PostgresBackup"
FILE_NAME = "defs.yaml"

# The keys of a component file, whatever its type; Dagster refuses others as well.
_FILE_KEYS = ("type", "attributes", "template_vars_module", "requirements", "post_processing")

# Checks of a whole section have no location of their own; their text starts with the field.
_NAMED_FIELD = re.compile(r"([a-z_]+(?:\.[a-z0-9_]+)*): (.*)", re.DOTALL)

_UNKNOWN = "extra_forbidden"

_KINDS = {
    "string_type": "must be text; put it in quotes",
    "model_type": "must be a section with keys of its own",
    "dict_type": "must be a section with keys of its own",
    "list_type": "must be a list",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "too_short": "must not be empty",
}


@dataclass(frozen=True)
class _Document:
    """One component of a file, with the line of everything in it."""

    path: Path
    value: Mapping[str, object]
    lines: Mapping[Location, int]

    @property
    def attributes(self) -> object:
        found = self.value.get("attributes")
        return {} if found is None else found

    @property
    def name(self) -> str:
        """The system's name, which a file that is otherwise wrong may still tell."""
        attributes = self.attributes
        named = (
            cast("dict[object, object]", attributes).get("system")
            if isinstance(attributes, dict)
            else None
        )
        return named if isinstance(named, str) else self.path.parent.name

    def line(self, location: Location) -> int:
        """The line of a field, or of the section where it is missing."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)

    def problem(self, location: Location, text: str) -> str:
        """One line for people: where, which field, what is wrong."""
        # The field's name starts below `attributes`, as in the documentation of the fields.
        field = ".".join(map(str, location[1:] if location[:1] == ("attributes",) else location))
        place = f"{shown(self.path)}:{self.line(location)}"
        return f"{place}: {field}: {text}" if field else f"{place}: {text}"


def load_systems(folder: Path | None = None) -> Mapping[str, System]:
    """Every system of `folder`, by name; raises Refused with all problems of all files."""
    problems: list[str] = []
    found: dict[str, System] = {}
    for path in _files(folder):
        for document in _documents(path, problems):
            system = _validated(document, problems)
            if system is not None and system.system in found:
                again = ("attributes", "system")
                problems.append(document.problem(again, f"{system.system} has a file already"))
            elif system is not None:
                found[system.system] = system
    if problems:
        raise Refused("\n".join(problems))
    return found


def load_system(name: str, folder: Path | None = None) -> System:
    """One system, whatever is wrong with others; raises NotFound with the names that there are."""
    require_known(name, folder)
    problems: list[str] = []
    for path in _files(folder):
        in_file: list[str] = []
        documents = list(_documents(path, in_file))
        if not documents and path.parent.name == name:
            problems += in_file
        for document in documents:
            if document.name == name:
                system = _validated(document, in_file)
                if system is not None and not in_file:
                    return system
                problems += in_file
    raise Refused("\n".join(problems) or f"{name} has no {FILE_NAME} that can be read")


def require_known(name: str, folder: Path | None = None) -> None:
    """Raise NotFound unless a file is about this system, be it right or wrong.

    It is all that reading backups needs: a broken file must not hide them.
    """
    known = known_names(folder)
    if name not in known:
        there = f"there are {', '.join(known)}" if known else "there are none"
        raise NotFound(
            f"there is no system {name}; {there}; "
            f"add one with backup-pipelines init {name} --database-url-env VARIABLE"
        )


def known_names(folder: Path | None = None) -> tuple[str, ...]:
    """The names of all systems, those with wrong files included."""
    names: set[str] = set()
    for path in _files(folder):
        problems: list[str] = []
        documents = list(_documents(path, problems))
        names |= {document.name for document in documents}
        if problems and not documents:
            names.add(path.parent.name)
    return tuple(sorted(names))


def shown(path: Path) -> str:
    """A path as people expect it: relative where they are, else whole."""
    here = os.path.relpath(path)
    return str(path) if here.startswith("..") else here


def _files(folder: Path | None) -> list[Path]:
    return sorted((folder or environment.defs_folder()).glob(f"*/{FILE_NAME}"))


def _validated(document: _Document, problems: list[str]) -> System | None:
    try:
        return System.model_validate(document.attributes)
    except ValidationError as error:
        found = [
            (document.line(("attributes", *each["loc"])), each["type"] != _UNKNOWN, each)
            for each in error.errors(include_url=False, include_context=False)
        ]
        # In the file's order; a misspelt key before the missing one that it was to be.
        for _, _, each in sorted(found, key=lambda item: item[:2]):
            location, text = _explained(each["type"], each["loc"], each["msg"])
            problems.append(document.problem(("attributes", *location), text))
        return None


def _explained(kind: str, location: Location, message: str) -> tuple[Location, str]:
    """A finding of pydantic as people would say it; never with the value, which may be a secret."""
    location = tuple(step for step in location if step != "[key]")
    if kind == _UNKNOWN:
        known = _fields(System, location[:-1])
        return location, f"unknown key{_did_you_mean(str(location[-1]), known)}"
    if kind in ("missing", "string_pattern_mismatch"):
        fields = _fields(System, location[:-1])
        about = getattr(fields.get(str(location[-1])), "description", None)
        text = "missing" if kind == "missing" else "not valid"
        return location, f"{text}; {about}" if about else text
    message = message.removeprefix("Value error, ")
    named = _NAMED_FIELD.fullmatch(message) if kind == "value_error" else None
    if named is not None:
        return (*location, *named[1].split(".")), named[2]
    return location, _KINDS.get(kind) or message.replace("Input should be", "must be")


def _fields(model: type[BaseModel], location: Location) -> Mapping[str, FieldInfo]:
    """The fields of the section of the YAML that `location` leads to."""
    kind: Any = model
    for step in location:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = kind.model_fields.get(str(step))
            kind = _present(field.annotation) if field else None
        else:
            # A list of sections, or sections by name: what it holds comes last.
            kind = (get_args(kind) or (None,))[-1]
    return kind.model_fields if isinstance(kind, type) and issubclass(kind, BaseModel) else {}


def _present(kind: Any) -> Any:
    """The kind of a field that may be left out: of `X | None`, X."""
    kinds = [each for each in get_args(kind) if each is not NoneType]
    return kinds[0] if NoneType in get_args(kind) and len(kinds) == 1 else kind


def _did_you_mean(key: str, known: Iterable[str]) -> str:
    names = list(known)
    close = get_close_matches(key, names, n=1)
    if close:
        return f" (did you mean {close[0]}?)"
    return f"; there are {', '.join(names)}" if names else ""


def _documents(path: Path, problems: list[str]) -> Iterator[_Document]:
    """The components of our type in a file; what is wrong with the file goes to `problems`."""
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        if not loader.check_node():
            problems.append(f"{shown(path)}:1: empty; write type: {COMPONENT} and attributes:")
        while loader.check_node():
            yield from _document(path, loader, problems)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problems.append(f"{shown(path)}:{line}: not valid YAML: {error.problem or error.context}")
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problems.append(f"{shown(path)}:1: not valid YAML: {' '.join(str(error).split())}")
    except OSError as error:
        problems.append(f"{shown(path)}: cannot be read: {error.strerror}")


def _document(path: Path, loader: yaml.SafeLoader, problems: list[str]) -> Iterator[_Document]:
    node = cast("yaml.Node", loader.get_node())
    lines: dict[Location, int] = {(): node.start_mark.line + 1}
    repeated: list[Location] = []
    # Before the values are made, which unfolds merge keys in place.
    _walk(node, (), lines, repeated, ())
    value: object = loader.construct_document(node)
    if not isinstance(value, dict):
        problems.append(f"{shown(path)}:{lines[()]}: write type: and attributes:, nothing else")
        return
    document = _Document(path, cast("dict[str, object]", value), lines)
    kind = document.value.get("type")
    if not isinstance(kind, str):
        problems.append(document.problem(("type",), f"missing; write type: {COMPONENT}"))
        return
    if kind != COMPONENT:
        # Components of others live in the same folder; a misspelt one of ours must not vanish.
        if kind.startswith("backup_pipelines."):
            text = f"no component {kind!r}; write type: {COMPONENT}"
            problems.append(document.problem(("type",), text))
        return
    for key in document.value:
        if key not in _FILE_KEYS:
            text = f"unknown key{_did_you_mean(str(key), _FILE_KEYS)}"
            problems.append(document.problem((key,), text))
    for location in repeated:
        problems.append(document.problem(location, "given twice"))
    yield document


def _walk(
    node: yaml.Node,
    at: Location,
    lines: dict[Location, int],
    repeated: list[Location],
    parents: tuple[yaml.Node, ...],
) -> None:
    """Note the line of every key and list item below `node`, and the keys that come twice."""
    if node in parents:
        return
    parents = (*parents, node)
    if isinstance(node, yaml.MappingNode):
        for key, below in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
            place = (*at, str(key.value))
            if place in lines:
                repeated.append(place)
            lines[place] = key.start_mark.line + 1
            _walk(below, place, lines, repeated, parents)
    elif isinstance(node, yaml.SequenceNode):
        for index, below in enumerate(cast("list[yaml.Node]", node.value)):
            lines[(*at, index)] = below.start_mark.line + 1
            _walk(below, (*at, index), lines, repeated, parents)
