"""The outside world with S3 as a resource of Dagster describes it, instead of AWS_* variables."""

from typing import TYPE_CHECKING

from dagster_aws.s3 import S3Resource

from backup_pipelines.dagster_layer.resources import BackupEnvironment
from backup_pipelines.errors import Refused
from backup_pipelines.system import System

if TYPE_CHECKING:
    from backup_pipelines.storage.store import Store
    from backup_pipelines.storage.variables import Given


class S3Environment(BackupEnvironment):
    """The world of BackupEnvironment; what `s3` leaves open is found as there."""

    s3: S3Resource

    def store(self) -> "Store":
        """The object store of BACKUP_STORE_URL, by the resource's credentials and endpoint.

        Raises Refused for settings of the resource that a store of backups does not take.
        """
        from backup_pipelines import environment
        from backup_pipelines.storage.store import Store

        return Store(environment.store_url(), self._variables())

    def second_store(self, system: System) -> "Store":
        """The second store; one that shares the variables of the first shares the resource."""
        from backup_pipelines import environment

        return environment.second_store(system, self._variables())

    def _variables(self) -> "Given":
        from backup_pipelines.storage.variables import Given

        s3 = self.s3
        self._refuse_odd()
        values = {
            "AWS_ACCESS_KEY_ID": s3.aws_access_key_id,
            "AWS_SECRET_ACCESS_KEY": s3.aws_secret_access_key,
            "AWS_SESSION_TOKEN": s3.aws_session_token,
            "AWS_PROFILE": s3.profile_name,
            "AWS_REGION": s3.region_name,
            "AWS_ENDPOINT_URL": s3.endpoint_url,
        }
        return Given(values={name: value for name, value in values.items() if value})

    def _refuse_odd(self) -> None:
        if self.s3.verify is False:
            raise Refused(
                "the resource s3 has verify: false, and backups go to no server that anybody can "
                "pretend to be: name its authority in AWS_CA_BUNDLE, and remove verify"
            )
        if self.s3.use_unsigned_session:
            raise Refused(
                "the resource s3 has use_unsigned_session, and backups are not written by just "
                "anybody: give it credentials"
            )
        if not self.s3.use_ssl and not self.s3.endpoint_url:
            raise Refused(
                "the resource s3 has use_ssl: false, which is for a server of your own: name it "
                "in endpoint_url, as http://host:port"
            )
