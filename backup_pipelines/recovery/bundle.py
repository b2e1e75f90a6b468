"""One file of Python out of a module and of what it uses of this package, in the package's words.

Whole functions, classes and constants are copied with their comments, nothing is rewritten but
`module.name` to `name`. So what the file does is what the package does, and what its tests test.
"""

import ast
import io
import sys
import tokenize
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

_PACKAGE = "backup_pipelines"
_QUERY = "query"

_Definition = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


def bundle(root: str, replaced: Mapping[str, str]) -> str:
    """The module `root` with everything that it needs of the package, imports first.

    `replaced` maps definitions of the package, by their whole name, to what `root` has instead.
    Raises ValueError for what cannot stand in one file: two things of one name.
    """
    found = _Bundle(root, replaced)
    found.take(root, found.module(root).definitions)
    return found.text()


@dataclass
class _Module:
    name: str
    tree: ast.Module
    lines: list[str]
    definitions: dict[str, _Definition] = field(default_factory=dict[str, _Definition])
    own: dict[str, str] = field(default_factory=dict[str, str])
    """Names that stand for modules and definitions of this package, with their whole names."""
    imports: dict[str, str] = field(default_factory=dict[str, str])
    """Names of everything else that is imported, with the statement that does it."""

    def is_module(self, name: str) -> bool:
        return self.own.get(name, "") in _modules()


class _Bundle:
    def __init__(self, root: str, replaced: Mapping[str, str]) -> None:
        self._root = root
        self._replaced = replaced
        self._modules: dict[str, _Module] = {}
        self._taken: dict[str, set[str]] = {}
        self._imports: dict[str, str] = {}
        self._queries: set[str] = set()

    def module(self, name: str) -> _Module:
        if name not in self._modules:
            self._modules[name] = _read(name)
        return self._modules[name]

    def take(self, module: str, names: Collection[str]) -> None:
        """Take definitions of a module, and what they need."""
        # Those it imports come first in the file: they are needed when it is read.
        for name in names:
            whole = f"{module}.{name}"
            if module != self._root and whole in self._replaced:
                self.take(self._root, [self._replaced[whole]])
            elif name not in self._taken.setdefault(module, set()):
                self._taken[module].add(name)
                self._follow(self.module(module), self.module(module).definitions[name])

    def text(self) -> str:
        """The file."""
        pieces = [_import_block(set(self._imports.values()))]
        taken: dict[str, str] = {}
        for module in self._in_order():
            if module.name != self._root:
                pieces.append(f"# From {module.name.replace('.', '/')}.py\n")
            wanted = {n: d for n, d in module.definitions.items() if n in self._taken[module.name]}
            for name in wanted:
                if taken.setdefault(name, module.name) != module.name or name in self._imports:
                    raise ValueError(f"{module.name} and another module both have {name}")
            # Several names can be of one definition.
            pieces += [_source(module, node) for node in dict.fromkeys(wanted.values())]
        queries = sorted(self._queries)
        pieces += [f'QUERIES["{name}"] = """\\\n{_query(name)}"""\n' for name in queries]
        return "\n\n".join(pieces)

    def _in_order(self) -> list[_Module]:
        """The modules, each after those that it takes something from."""
        found: dict[str, _Module] = {}

        def visit(name: str) -> None:
            module = self.module(name)
            for whole in module.own.values():
                of = whole if whole in _modules() else whole.rpartition(".")[0]
                if of in self._taken and of not in found and of != self._root:
                    visit(of)
            found[name] = module

        visit(self._root)
        return list(found.values())

    def _follow(self, module: _Module, definition: _Definition) -> None:
        annotations = list(_annotations(definition))
        for node in _evaluated(definition, annotations):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if module.is_module(node.value.id):
                    self.take(module.own[node.value.id], [node.attr])
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id == _QUERY and isinstance(node.args[0], ast.Constant):
                    self._queries.add(str(node.args[0].value))
            elif isinstance(node, ast.Name):
                self._need(module, node.id)
        for node in chain.from_iterable(map(ast.walk, annotations)):
            # They are not evaluated; what they import is, for whoever reads the file.
            if isinstance(node, ast.Name) and node.id in module.imports:
                self._imports.setdefault(node.id, module.imports[node.id])

    def _need(self, module: _Module, name: str) -> None:
        if name in module.definitions:
            self.take(module.name, [name])
        elif name in module.imports:
            known = self._imports.setdefault(name, module.imports[name])
            if known != module.imports[name]:
                raise ValueError(f"{module.name} imports {name} otherwise than another module")
        elif name in module.own and not module.is_module(name):
            of, _, attribute = module.own[name].rpartition(".")
            self.take(of, [attribute])


def _modules() -> Collection[str]:
    """The names of all modules of the package."""
    if not _MODULES:
        folder = Path(str(files(_PACKAGE)))
        paths = (path.relative_to(folder.parent) for path in folder.rglob("*.py"))
        _MODULES.update(".".join(path.with_suffix("").parts) for path in paths)
    return _MODULES


_MODULES: set[str] = set()


def _read(name: str) -> _Module:
    spec = find_spec(name)
    assert spec is not None and spec.origin is not None
    text = Path(spec.origin).read_text("utf-8")
    module = _Module(name, ast.parse(text), text.splitlines())
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            module.definitions[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                for each in ast.walk(target):
                    if isinstance(each, ast.Name):
                        module.definitions[each.id] = node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            _add_imports(module, node)
    return module


def _add_imports(module: _Module, node: ast.Import | ast.ImportFrom) -> None:
    for alias in node.names:
        bound = alias.asname or alias.name.partition(".")[0]
        renamed = f" as {alias.asname}" if alias.asname else ""
        if isinstance(node, ast.Import):
            module.imports[bound] = f"import {alias.name}{renamed}"
        elif (node.module or "").partition(".")[0] == _PACKAGE:
            module.own[bound] = f"{node.module}.{alias.name}"
        else:
            module.imports[bound] = f"from {node.module} import {alias.name}{renamed}"


def _annotations(definition: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(definition):
        if isinstance(node, ast.FunctionDef):
            yield from filter(None, [node.returns])
        elif isinstance(node, ast.arg):
            yield from filter(None, [node.annotation])
        elif isinstance(node, ast.AnnAssign):
            yield node.annotation


def _evaluated(definition: ast.AST, annotations: Collection[ast.AST]) -> Iterator[ast.AST]:
    """Every node that is not in an annotation."""
    left_out = {id(annotation) for annotation in annotations}
    waiting = [definition]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += [x for x in ast.iter_child_nodes(node) if id(x) not in left_out]


def _source(module: _Module, node: _Definition) -> str:
    """A definition with its decorators and the comment above it."""
    decorators = [] if isinstance(node, ast.Assign | ast.AnnAssign) else node.decorator_list
    begin = min([node.lineno, *(one.lineno for one in decorators)]) - 1
    while begin and module.lines[begin - 1].startswith("#"):
        begin -= 1
    assert node.end_lineno is not None
    text = "\n".join(module.lines[begin : node.end_lineno]) + "\n"
    return _without_modules(module, text)


def _without_modules(module: _Module, text: str) -> str:
    """The text with `ddl.split` as `split` where `ddl` is a module of this package."""
    if not any(f"{name}." in text for name in module.own if module.is_module(name)):
        return text
    lines = text.splitlines(keepends=True)
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    for before, name, dot in reversed(list(zip([None, *tokens], tokens, tokens[1:], strict=False))):
        is_first = before is None or before.string != "."
        if is_first and dot.string == "." and module.is_module(name.string):
            row, column = name.start[0] - 1, name.start[1]
            lines[row] = lines[row][:column] + lines[row][dot.end[1] :]
    return "".join(lines)


def _import_block(statements: set[str]) -> str:
    """Import statements as people write them: ours is the standard library first."""
    plain = {line for line in statements if line.startswith("import ")}
    by_module: dict[str, list[str]] = {}
    for line in statements - plain:
        module, _, name = line.removeprefix("from ").partition(" import ")
        by_module.setdefault(module, []).append(name)
    lines = sorted(plain)
    lines += [f"from {m} import {', '.join(sorted(by_module[m]))}" for m in sorted(by_module)]

    def is_standard(line: str) -> bool:
        return line.split()[1].partition(".")[0] in sys.stdlib_module_names

    blocks = [[x for x in lines if is_standard(x)], [x for x in lines if not is_standard(x)]]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _query(name: str) -> str:
    text = (files(f"{_PACKAGE}.postgres") / "sql" / f"{name}.sql").read_text("utf-8")
    assert '"""' not in text and "\\" not in text
    return text
