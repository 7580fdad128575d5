"""Retraining jobs: a `JobRequest` asks, a process of its own does it stage by stage, an `Outcome` answers.

jobs = Jobs(settings, open_store(settings.blobs), ledger)
jobs.open_job(request)              # idempotent: the job is named by what triggered it
outcome = jobs.run(request.job_id)  # resumes where an interrupted run was
"""

from retrain.jobs.request import JobRequest, Outcome, job_id
from retrain.jobs.runner import Jobs

__all__ = ["JobRequest", "Jobs", "Outcome", "job_id"]
