"""What those who are signed in are in each system, remembered for half a minute.

The YAML and the application's table of roles are asked again after that: whoever loses a role
loses it in the UI, without a restart.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from backup_pipelines.access.deciding import enforced, role_of
from backup_pipelines.access.identity import Identity
from backup_pipelines.access.roles import Role
from backup_pipelines.errors import BackupError, Refused
from backup_pipelines.system import System
from backup_pipelines.systems import load_systems

_REMEMBERED_SECONDS = 30.0
_MOST_PEOPLE = 1000

_Value = TypeVar("_Value")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Standing:
    """Somebody's role in each system."""

    roles: Mapping[str, Role]
    enforced: frozenset[str]
    """The systems whose roles are asked for."""
    problems: tuple[str, ...] = ()
    """Roles that could not be asked for, as sentences."""

    @property
    def highest(self) -> Role:
        """The highest role in any system."""
        return max(self.roles.values(), default=Role.NOBODY)


NOBODY = Standing({}, frozenset())


class People:
    """The systems, and who is what in them."""

    def __init__(self, load: Callable[[], Mapping[str, System]] = load_systems) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._systems = _Aged(load())
        self._standings: OrderedDict[Identity, _Aged[Standing]] = OrderedDict()

    def systems(self) -> Mapping[str, System]:
        """All systems; while a file is broken, as they were before it was."""
        aged = self._systems
        if aged.is_fresh:
            return aged.value
        try:
            found = self._load() or aged.value
        except BackupError as error:
            _log.warning("roles are as they were: %s", error)
            found = aged.value
        self._systems = _Aged(found)
        return found

    def standing(self, identity: Identity) -> Standing:
        """What somebody is in each system."""
        with self._lock:
            known = self._standings.get(identity)
        if known is not None and known.is_fresh:
            return known.value
        # Not under the lock: a database that does not answer must not hold up everybody.
        found = self._ask(identity)
        with self._lock:
            self._standings[identity] = _Aged(found)
            self._standings.move_to_end(identity)
            while len(self._standings) > _MOST_PEOPLE:
                self._standings.popitem(last=False)
        return found

    def _ask(self, identity: Identity) -> Standing:
        systems = self.systems()
        roles: dict[str, Role] = {}
        problems: list[str] = []
        for name, system in systems.items():
            try:
                roles[name] = role_of(system, identity)
            except Refused as error:
                problems.append(str(error))
                listed = system.model_copy(update={"roles_from": None})
                roles[name] = role_of(listed, identity)
        return Standing(roles, frozenset(enforced(systems)), tuple(problems))


class _Aged(Generic[_Value]):
    """A value, and whether it is still to be believed."""

    def __init__(self, value: _Value) -> None:
        self.value = value
        self._until = time.monotonic() + _REMEMBERED_SECONDS

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() < self._until
