"""RECOVERY.md and restore.py, which lie beside every backup: made, written and read back."""

import hashlib
import inspect
from functools import cache, partial
from importlib.metadata import version

from backup_pipelines import layout
from backup_pipelines.manifest import Document, Manifest
from backup_pipelines.recovery import script
from backup_pipelines.recovery.bundle import bundle
from backup_pipelines.recovery.guide import guide
from backup_pipelines.storage.reading import read_all, read_back
from backup_pipelines.storage.store import Store

# Of what a restore uses, these know the tool's store, its catalog or its manifest's classes.
_REPLACED = {
    "backup_pipelines.postgres.binary_copy.binary_form": "binary_form",
    "backup_pipelines.postgres.digest.compare": "compare",
    "backup_pipelines.postgres.introspect.list_tables": "list_tables",
    "backup_pipelines.postgres.queries.query": "query",
    "backup_pipelines.storage.age.decrypt": "decrypt",
}


def with_documents(store: Store, entry: Manifest) -> Manifest:
    """The manifest of a backup, not sealed yet, with both documents, which are in the store now.

    Raises Damaged when one of them reads back different.
    """
    name = partial(layout.document_key, entry.system, entry.id)
    program = restore_script().encode()
    # Before the text, which has its checksum as well.
    named = entry.model_copy(update={"documents": (_described(name("restore.py"), program),)})
    text = guide(named).encode()
    contents = {name("RECOVERY.md"): text, name("restore.py"): program}
    documents = read_all(lambda key: _stored(store, key, contents[key]), contents)
    return entry.model_copy(update={"documents": tuple(documents)})


@cache
def restore_script() -> str:
    """The script that restores a backup without this package, the same for every backup.

    It is this package's own code: see recovery/script.py for what is its own.
    """
    made_by = f"Made by backup_pipelines {version('backup_pipelines')} of its own source."
    text = inspect.getdoc(script)
    return "\n".join(
        [
            "#!/usr/bin/env python3",
            f'"""{text}\n\n{made_by}\n"""',
            "",
            "from __future__ import annotations",
            "",
            bundle(script.__name__, _REPLACED),
            "",
            'if __name__ == "__main__":',
            "    sys.exit(main())",
            "",
        ]
    )


def _stored(store: Store, key: str, data: bytes) -> Document:
    found = _described(key, data)
    store.put_new(key, data)
    read_back(store, key, found.size_bytes, found.sha256)
    return found


def _described(key: str, data: bytes) -> Document:
    return Document(key=key, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
