"""Runs as jobs of a Ray cluster. Only a deployment whose settings name it needs `dagster_ray`, and loads this."""

import shlex

from dagster._core.launcher import LaunchRunContext
from dagster._grpc.types import ExecuteRunArgs
from dagster_ray import RayRunLauncher
from dagster_ray.core.run_launcher import get_job_submission_id_from_run_id


class RunsOnRay(RayRunLauncher):  # type: ignore[misc]  # it has no types
    """`RayRunLauncher`, whose command survives the shell of the node, and begins with the Python of the code location.

    Its own puts the arguments between quotes as they are; those of an instance whose records have settings hold some.
    """

    @property
    def supports_resume_run(self) -> bool:
        """Whether a run that died can be gone on with: its work is found by the plan and done again instead."""
        return False

    def launch_run(self, context: LaunchRunContext) -> None:
        """Hand a run to the cluster."""
        run = context.dagster_run
        origin = run.job_code_origin
        if origin is None:
            raise ValueError(f"run {run.run_id} says of no code where it is")
        ordered = ExecuteRunArgs(
            job_origin=origin, run_id=run.run_id, instance_ref=self._instance.get_ref(), set_exit_code_on_failure=True
        )
        arguments = [origin.repository_origin.executable_path, "-m", *ordered.get_command_args()]
        self._launch_ray_job(get_job_submission_id_from_run_id(run.run_id), shlex.join(arguments), run)
