"""What somebody is in each system, by the YAML as it is now."""

from collections.abc import Mapping

import pytest

from backup_pipelines.access.identity import Identity
from backup_pipelines.access.roles import Role
from backup_pipelines.errors import Refused
from backup_pipelines.system import System
from backup_pipelines.webserver import people as people_module
from backup_pipelines.webserver.people import People
from backup_pipelines.webserver.permissions import permissions

_ADA = Identity("Ada", "password")


def system(name: str, **more: object) -> System:
    """A system whose YAML says this about access."""
    said: dict[str, object] = {
        "system": name,
        "database_url_env": "X_URL",
        "modules": {"all": {"tables": ["orders"]}},
        "access": "enforced",
        "admins": ["boss"],
        "viewers": [],
    }
    return System.model_validate({**said, **more})


def people(*systems: System) -> People:
    """Those of some systems."""
    return People(lambda: {one.system: one for one in systems})


def test_each_system_has_roles_of_its_own() -> None:
    """The highest decides what the pages offer."""
    both = people(system("crm", admins=["ada"]), system("dcim", operators=["*"]))
    standing = both.standing(_ADA)
    assert standing.roles == {"crm": Role.ADMIN, "dcim": Role.OPERATOR}
    assert standing.highest is Role.ADMIN
    assert both.standing(Identity("eve", "password")).highest is Role.OPERATOR


def test_where_access_is_open_everybody_is_an_admin_of_that_system_alone() -> None:
    """An open system beside an enforced one opens nothing of it."""
    mixed = people(system("crm", access="open"), system("dcim"))
    standing = mixed.standing(_ADA)
    assert standing.roles == {"crm": Role.ADMIN, "dcim": Role.NOBODY}
    assert not permissions(standing)["wipe_assets"].enabled
    opened = people(system("crm", access="open")).standing(_ADA)
    assert permissions(opened)["wipe_assets"].enabled


def test_a_table_of_roles_that_does_not_answer_leaves_the_lists(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who is named in the YAML keeps that role, and everybody is told why there is no more."""
    monkeypatch.setenv("ROLES_URL", "postgresql://nobody@127.0.0.1:1/none")
    table = {
        "table": "public.user_roles",
        "user_column": "user_id",
        "role_column": "role",
        "admins": ["super_admin"],
        "database_url_env": "ROLES_URL",
    }
    found = people(system("crm", operators=["ada"], roles_from=table))
    standing = found.standing(Identity("ada", "token", "1"))
    assert standing.roles == {"crm": Role.OPERATOR}
    [problem] = standing.problems
    assert problem.startswith("roles of crm cannot be read from public.user_roles")


def test_changes_of_the_yaml_are_seen_and_a_broken_one_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half a minute later whoever was removed is nobody; a broken file lets nobody in or out."""
    monkeypatch.setattr(people_module, "_REMEMBERED_SECONDS", 0.0)
    systems: Mapping[str, System] | None = {"crm": system("crm", admins=["ada"])}

    def load() -> Mapping[str, System]:
        if systems is None:
            raise Refused("broken")
        return systems

    found = People(load)
    assert found.standing(_ADA).highest is Role.ADMIN
    systems = None
    assert found.standing(_ADA).highest is Role.ADMIN
    systems = {}
    assert found.standing(_ADA).highest is Role.ADMIN
    systems = {"crm": system("crm")}
    assert found.standing(_ADA).highest is Role.NOBODY
