"""Where chunks of trials are evaluated: in this process, in processes of this machine, or on a Ray cluster."""

from faultsim.engine.executors.base import Chunk, Executor, Job, Work, WorkerError
from faultsim.engine.executors.inline import Inline
from faultsim.engine.executors.processes import Processes

__all__ = ["Chunk", "Executor", "Inline", "Job", "Processes", "Work", "WorkerError"]
