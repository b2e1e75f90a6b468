"""The job that carries out one request of the application, by the code of the jobs people launch.

Whatever it finds, it leaves beside the request: the refusal, or the claim and then the result.
"""

from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from backup_pipelines import catalog, modules
from backup_pipelines.access import deciding, identity
from backup_pipelines.backup_id import BackupId
from backup_pipelines.dagster_layer import (
    assets,
    job_names,
    metadata,
    operations,
    operators,
    restore_ops,
)
from backup_pipelines.dagster_layer.config import (
    LiveRestoreConfig,
    RequestConfig,
    RestoreMode,
    TypeCONFIRM,
)
from backup_pipelines.dagster_layer.jobs import refuse_reexecution
from backup_pipelines.dagster_layer.op_jobs import configured_op_job
from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.errors import BackupError, NotFound, Refused
from backup_pipelines.modules import Entry
from backup_pipelines.restoring import app_requests
from backup_pipelines.restoring.app_requests import AppRequest
from backup_pipelines.storage.store import Store
from backup_pipelines.system import System, qualify

REQUEST_TAG = "backup_pipelines/request"
"""The request of the application that a run has claimed."""


def request_jobs(system: System) -> list[dg.JobDefinition]:
    """The job for requests of the application, if the YAML permits any."""
    if not system.requests.operations:
        return []
    return [
        configured_op_job(
            system,
            job_names.request_job(system.system),
            _carry_out,
            RequestConfig,
        )
    ]


def _carry_out(
    system: System,
    context: dg.OpExecutionContext,
    config: RequestConfig,
    environment: BackupEnvironment,
) -> None:
    with operations.operation(context, system, "request", environment, unless_done=True) as refusal:
        refusal.details["request"] = config.request
        refuse_reexecution(context.run)
        store = environment.store()
        request = _taken(system, context, config.request, store)
    operator = identity.of_app(request.requested_by).name
    context.log.info(f"request {request.id}: {request.operation} for {operator}")
    run = {"operation": request.operation, "run_id": context.run_id}
    try:
        with operators.acting_for(operator):
            if request.operation == "backup":
                result = _back_up(system, context, request, environment)
            else:
                result = _restore(system, context, request, environment)
    # An interrupted run, too, owes the application an answer.
    except BaseException as error:
        # What other errors say may hold more than the application is to know.
        known = isinstance(error, BackupError)
        said = str(error) if known else f"the run broke off ({type(error).__name__}); see its log"
        try:
            app_requests.finish(
                store, system.system, request.id, success=False, message=said, result=run
            )
        except BackupError as failure:
            # Not raised: it would hide what went wrong first.
            context.log.warning(f"the application is not told: {failure}")
        raise
    message = f"{request.operation} done"
    app_requests.finish(
        store, system.system, request.id, success=True, message=message, result={**run, **result}
    )


def _taken(
    system: System, context: dg.OpExecutionContext, request_id: str, store: Store
) -> AppRequest:
    """The request, verified and claimed; a refusal is left beside it."""
    name, now = system.system, datetime.now(UTC)
    app_requests.refuse_settled(store, name, request_id)
    try:
        request = app_requests.read(store, system, request_id, now)
        _refuse_replayed(context, name, request_id)
        deciding.require(system, request.operation, identity.of_app(request.requested_by))
        if request.operation == "backup":
            _selection(system, request)
    except NotFound:
        raise
    except Refused as error:
        app_requests.refuse(store, name, request_id, str(error), now)
        raise
    app_requests.claim(store, name, request, context.run_id, now)
    tags = {
        REQUEST_TAG: f"{name}/{request_id}",
        operators.OPERATOR_TAG: identity.of_app(request.requested_by).name,
    }
    context.instance.add_run_tags(context.run_id, tags)
    return request


def _refuse_replayed(context: dg.OpExecutionContext, system: str, request_id: str) -> None:
    """Refuse what a run has claimed, though somebody removed the claim from the store."""
    filters = dg.RunsFilter(tags={REQUEST_TAG: f"{system}/{request_id}"})
    if context.instance.get_runs(filters, limit=1):
        raise Refused(f"request {request_id} was carried out before; it is never done twice")


def _back_up(
    system: System,
    context: dg.OpExecutionContext,
    request: AppRequest,
    environment: BackupEnvironment,
) -> Mapping[str, Any]:
    with operations.operation(
        context, system, "backup", environment, reason=request.reason
    ) as work:
        work.details["request"] = request.id
        return _backed_up(system, context, request, environment, work)


def _backed_up(
    system: System,
    context: dg.OpExecutionContext,
    request: AppRequest,
    environment: BackupEnvironment,
    work: operations.Operation,
) -> Mapping[str, Any]:
    from backup_pipelines.backup import BackupRequest

    selection = _selection(system, request)
    kind = "manual" if modules.scope_of(system, selection)[0] == "full" else "module"
    asked = BackupRequest(
        system=system,
        id=BackupId.new(kind, datetime.now(UTC)),
        type=kind,
        created_by=operators.operator_of(context.run),
        selection=selection,
        label=f"request {request.id}",
        reason=request.reason,
        run_id=context.run_id,
    )
    with closing(assets.take(context, asked, environment, work)) as items:
        for key, _, shown in items:
            context.log_event(dg.AssetMaterialization(key, metadata=shown))
    row = catalog.row(catalog.load(environment.store(), system.system, str(asked.id)))
    context.add_output_metadata({metadata.RESULT: dg.MetadataValue.json(dict(row))})
    return {"backup": row["id"], "result": row}


def _restore(
    system: System,
    context: dg.OpExecutionContext,
    request: AppRequest,
    environment: BackupEnvironment,
) -> Mapping[str, Any]:
    config = LiveRestoreConfig(
        backup=request.backup or "",
        mode=RestoreMode(request.mode),
        modules=list(request.modules),
        tables=list(request.tables),
        reason=request.reason,
        confirm=TypeCONFIRM(request.confirm),
    )
    details = {"request": request.id}
    document = restore_ops.restore(system, context, config, environment, details)
    return {
        "backup": document["backup"],
        "safety_backup": document["safety_backup"],
        "result": document,
    }


def _selection(system: System, request: AppRequest) -> frozenset[Entry]:
    """What a backup request is about; raises Refused for what the YAML does not name."""
    known = modules.entries(system)
    if not request.modules and not request.tables:
        return frozenset(known)
    try:
        chosen = modules.select_modules(system, request.modules)
    except NotFound as error:
        raise Refused(str(error)) from error
    tables = {qualify(table) for table in request.tables}
    named = frozenset(e for e in known if e.kind == "table" and e.name in tables)
    unknown = sorted(tables - {entry.name for entry in named})
    if unknown:
        raise Refused(f"the YAML of {system.system} names no table {', '.join(unknown)}")
    return chosen | named
