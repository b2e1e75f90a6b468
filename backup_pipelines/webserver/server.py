"""Dagster's web server, in this process, with the gate in front and the guard inside."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from graphene import Schema
from graphql import GraphQLFormattedError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.websockets import WebSocket

from backup_pipelines import environment
from backup_pipelines.access import deciding
from backup_pipelines.dagster_layer.access_coordinator import AccessRunCoordinator
from backup_pipelines.errors import Refused
from backup_pipelines.webserver import markup, mutations
from backup_pipelines.webserver.context import SignedInProcessContext, SignedInRequestContext
from backup_pipelines.webserver.gate import Gate
from backup_pipelines.webserver.guard import Guard, NotAllowedHere, unless_subscription
from backup_pipelines.webserver.pages import Pages
from backup_pipelines.webserver.people import People
from backup_pipelines.webserver.refusals import Refusals
from backup_pipelines.webserver.sessions import Sessions

WORKSPACE = "workspace.yaml"

_JSON = "application/json"
_BODY_END = "</body>"

# As dagster-webserver's own command line has it.
_STATEMENT_MILLISECONDS, _POOL_RECYCLE_SECONDS, _POOL_OVERFLOW = 15000, 3600, 20
_POLL_MILLISECONDS = 2000


class Webserver(DagsterWebserver[SignedInProcessContext, SignedInRequestContext]):
    """Dagster's server, for those who are signed in."""

    def __init__(self, context: SignedInProcessContext, people: People, *, secure: bool) -> None:
        self.refusals = Refusals(people.systems)
        self._guard = Guard(self.refusals.tell)
        self._pages = Pages(people, Sessions(secure=secure), self.refusals.at_the_door)
        super().__init__(context, live_data_poll_rate=_POLL_MILLISECONDS)

    def build_graphql_schema(self) -> Schema:
        """Dagster's schema; each change in it is judged first."""
        return self._guard.schema()

    def build_middleware(self) -> list[Middleware]:
        """The gate, before anything else sees a request."""
        return [Middleware(Gate, pages=self._pages), *super().build_middleware()]

    async def graphql_http_endpoint(
        self, request: Request
    ) -> HTMLResponse | PlainTextResponse | JSONResponse:
        """GraphQL by POST and as JSON only, which no page of another site can send unasked."""
        if request.method != "POST":
            # Exactly what Dagster answers with a page, and without running what the address has.
            if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
                return await super().graphql_http_endpoint(request)
            return PlainTextResponse("GraphQL is asked by POST here", 405, {"Allow": "POST"})
        kinds = request.headers.getlist("Content-Type")
        if len(kinds) != 1 or kinds[0].partition(";")[0].strip().lower() != _JSON:
            return PlainTextResponse(f"GraphQL is asked as {_JSON} here", 415)
        try:
            asked: object = json.loads(await request.body())
        except ValueError:
            return PlainTextResponse("the request is no JSON", 400)
        if not isinstance(asked, dict) or not isinstance(asked.get("query"), str):
            return PlainTextResponse("one request at a time, with its query", 400)
        return await super().graphql_http_endpoint(request)

    async def execute_graphql_subscription(
        self,
        websocket: WebSocket,
        operation_id: str,
        query: str,
        variables: dict[str, Any] | None,
        operation_name: str | None,
    ) -> Any:
        """Subscriptions only, which are all that Dagster's pages send by a websocket."""
        error = unless_subscription(self._graphene_schema.graphql_schema, query)
        if error is not None:
            said: GraphQLFormattedError = error.formatted
            return None, said
        return await super().execute_graphql_subscription(
            websocket, operation_id, query, variables, operation_name
        )

    async def report_asset_materialization_endpoint(self, request: Request) -> JSONResponse:
        """Dagster's own, for admins."""
        refused = self._refused(request, "report_asset_materialization", mutations.REPORTS)
        return refused or await super().report_asset_materialization_endpoint(request)

    async def report_asset_check_endpoint(self, request: Request) -> JSONResponse:
        """Dagster's own, for admins."""
        refused = self._refused(request, "report_asset_check", mutations.REPORTS)
        return refused or await super().report_asset_check_endpoint(request)

    async def report_asset_observation_endpoint(self, request: Request) -> JSONResponse:
        """Dagster's own, for admins."""
        refused = self._refused(request, "report_asset_observation", mutations.REPORTS)
        return refused or await super().report_asset_observation_endpoint(request)

    async def download_notebook(self, request: Request) -> HTMLResponse | PlainTextResponse:
        """Dagster's own, for admins."""
        refused = self._refused(request, "notebook", mutations.NOTEBOOKS)
        if refused is not None:
            return PlainTextResponse(bytes(refused.body), 403)
        return await super().download_notebook(request)

    def index_html_endpoint(self, request: Request) -> HTMLResponse:
        """Dagster's page, with who is signed in at its edge."""
        page = super().index_html_endpoint(request)
        with self.request_context(request) as context:
            if context.identity is None:
                return page
            badge = markup.badge(context.identity, context.standing)
        text = bytes(page.body).decode()
        head, end, tail = text.rpartition(_BODY_END)
        kept = {name: value for name, value in page.headers.items() if name != "content-length"}
        return HTMLResponse(f"{head}{badge}{end}{tail}" if end else text, headers=kept)

    def _refused(self, request: Request, name: str, rule: mutations.Rule) -> JSONResponse | None:
        with self.request_context(request) as context:
            try:
                self._guard.require(context, name, rule)
            except NotAllowedHere as refusal:
                return JSONResponse({"error": str(refusal)}, 403)
        return None


@dataclass(frozen=True)
class Ready:
    """A server that only needs a port."""

    app: Starlette
    webserver: Webserver


@contextmanager
def ready(people: People, *, secure: bool) -> Generator[Ready]:
    """The server of the instance and the workspace of `environment.home()`.

    Raises Refused where the instance lets runs pass that nobody has judged.
    """
    workspace = environment.home() / WORKSPACE
    if not workspace.is_file():
        raise Refused(f"there is no {workspace}: it says which code the UI shows")
    with dg.DagsterInstance.get() as instance:
        require_coordinator(instance, people)
        instance.optimize_for_webserver(
            _STATEMENT_MILLISECONDS, _POOL_RECYCLE_SECONDS, _POOL_OVERFLOW
        )
        with SignedInProcessContext(
            instance,
            workspace_load_target=WorkspaceFileTarget(paths=[str(workspace)]),
            version=__version__,
        ) as context:
            context.people = people
            webserver = Webserver(context, people, secure=secure)
            yield Ready(webserver.create_asgi_app(), webserver)


def require_coordinator(instance: dg.DagsterInstance, people: People) -> None:
    """Raise Refused where a system's roles are asked for, and no run is held against them."""
    enforced = deciding.enforced(people.systems())
    if enforced and not isinstance(instance.run_coordinator, AccessRunCoordinator):
        raise Refused(
            f"access to {', '.join(enforced)} is enforced, and {environment.home()}/dagster.yaml "
            "has another run coordinator: write run_coordinator with the module "
            f"{AccessRunCoordinator.__module__} and the class {AccessRunCoordinator.__name__}"
        )
