"""The guard of Dagster's GraphQL: each change is judged before anything of it is done.

It is built into the schema's own resolvers. So it does not matter how a request came, by HTTP or
by websocket, under which alias, in which fragment, or with how many others.
"""

from collections.abc import Callable, Mapping
from typing import Any

from dagster_graphql.schema import create_schema
from dagster_graphql.schema.errors import GraphenePythonError, GrapheneUnauthorizedError
from dagster_shared.error import SerializableErrorInfo
from graphene import Schema
from graphql import (
    GraphQLError,
    GraphQLField,
    GraphQLResolveInfo,
    GraphQLSchema,
    GraphQLUnionType,
    OperationDefinitionNode,
    OperationType,
    get_named_type,
    parse,
    validate,
)

from backup_pipelines.access.deciding import too_little
from backup_pipelines.access.identity import Identity
from backup_pipelines.access.roles import Role
from backup_pipelines.errors import NotAllowed
from backup_pipelines.system import System
from backup_pipelines.webserver.concerned import Arguments, Concerned
from backup_pipelines.webserver.context import SignedInRequestContext
from backup_pipelines.webserver.mutations import RULES, Rule

Told = Callable[[Identity, frozenset[str], str, str], None]
"""Told of a refusal: who, in which systems, of what, and the sentence."""

_UNAUTHORIZED, _PYTHON = "UnauthorizedError", "PythonError"


class NotAllowedHere(Exception):
    """A change that whoever asks may not make, as a sentence."""


class Guard:
    """Judges what people ask of Dagster, and tells of what it refused."""

    def __init__(self, told: Told) -> None:
        self._told = told

    def schema(self) -> Schema:
        """Dagster's schema, whose changes are all judged."""
        schema = create_schema()
        mutations = schema.graphql_schema.mutation_type
        if mutations is not None:
            for name, field in mutations.fields.items():
                self._wrap(name, field)
        return schema

    def require(self, context: SignedInRequestContext, name: str, rule: Rule | None) -> None:
        """Raise NotAllowedHere unless whoever asks may do what the rule is about, everywhere."""
        self._judge(context, name, rule, {})

    def _wrap(self, name: str, field: GraphQLField) -> None:
        resolve = field.resolve
        rule = RULES.get(name)

        def judged(root: object, info: GraphQLResolveInfo, **arguments: Any) -> Any:
            try:
                said = {_as_in_schema(each): value for each, value in arguments.items()}
                self._judge(info.context, name, rule, said)
            except NotAllowedHere as refusal:
                return _refused(str(refusal), rule, info)
            if resolve is None:
                raise GraphQLError(f"{name} cannot be done")
            return resolve(root, info, **arguments)

        field.resolve = judged

    def _judge(self, context: object, name: str, rule: Rule | None, arguments: Arguments) -> None:
        if not isinstance(context, SignedInRequestContext) or context.identity is None:
            raise NotAllowedHere("nobody has signed in for this")
        standing, identity = context.standing, context.identity
        if standing.roles and not standing.enforced:
            return
        systems = context.people.systems()
        enforced = standing.enforced
        about = _about(rule, Concerned(systems, context), arguments)
        concerned = about & enforced if about is not None else enforced
        if about is not None and not about and rule is not None:
            concerned = frozenset() if rule.unknown_is_open else enforced
        sentence = _sentence(identity, context, name, rule, concerned, systems)
        if sentence:
            self._told(identity, concerned or enforced, name, sentence)
            raise NotAllowedHere(sentence)


def unless_subscription(schema: GraphQLSchema, query: str) -> GraphQLError | None:
    """What stands against a websocket's request; nothing if it only subscribes.

    What else comes by a websocket is none of Dagster's pages, and is not even handed on.
    """
    try:
        document = parse(query)
    except GraphQLError as error:
        return error
    errors = validate(schema, document)
    if errors:
        return errors[0]
    for one in document.definitions:
        if isinstance(one, OperationDefinitionNode) and (
            one.operation is not OperationType.SUBSCRIPTION
        ):
            return GraphQLError("a websocket takes subscriptions only")
    return None


def _as_in_schema(argument: str) -> str:
    """The name of an argument as requests have it; some of Dagster's get another in Python."""
    first, *others = argument.split("_")
    return first + "".join(word.capitalize() for word in others)


def _about(rule: Rule | None, concerned: Concerned, arguments: Arguments) -> frozenset[str] | None:
    if rule is None or rule.about is None:
        return None
    return rule.about(concerned, arguments)


def _sentence(
    identity: Identity,
    context: SignedInRequestContext,
    name: str,
    rule: Rule | None,
    concerned: frozenset[str],
    systems: Mapping[str, System],
) -> str:
    """Why somebody may not; empty where they may."""
    standing = context.standing
    if rule is None:
        return f"{name} is nothing that this version knows: nobody may"
    if rule.least is None:
        return f"{rule.what} is for nobody while access is enforced: {rule.instead}"
    for system in sorted(concerned):
        role = standing.roles.get(system, Role.NOBODY)
        if role < rule.least:
            return too_little(systems[system], identity, role, rule.what, rule.least)
    if not concerned and standing.highest < rule.least:
        return f"{identity.name} is {standing.highest}, and {rule.what} needs {rule.least}"
    return ""


def _refused(sentence: str, rule: Rule | None, info: GraphQLResolveInfo) -> Any:
    """A refusal as Dagster's pages show it: the field's own kind of answer, or an error."""
    kind = get_named_type(info.return_type)
    kinds = {one.name for one in kind.types} if isinstance(kind, GraphQLUnionType) else set[str]()
    said_as = rule.said_as if rule is not None else _UNAUTHORIZED
    if said_as == _PYTHON and _PYTHON in kinds:
        return GraphenePythonError(SerializableErrorInfo(sentence, [], NotAllowed.__name__))
    if _UNAUTHORIZED in kinds:
        return GrapheneUnauthorizedError(sentence)
    # With its path it counts as an error of whoever asks, not of the server.
    raise GraphQLError(sentence, nodes=info.field_nodes, path=info.path.as_list())
