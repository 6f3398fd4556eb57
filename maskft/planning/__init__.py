"""What a study costs, known before anything starts: tokens, operations, memory and hours.

Every formula stands in one small function with its derivation. ``shapes`` counts parameters and operations of a model,
``lengths`` the tokens of the data, ``work`` the operations of a run, ``memory`` the bytes on a GPU, ``time`` the hours on
``hardware``; ``plan`` adds up the runs of exhibits, ``show`` prints, and ``schedule`` puts the whole paper on a cluster.
"""

from maskft.planning.hardware import GPUS, get_gpu
from maskft.planning.plan import PER_DEVICE, Setup, plan, planned_runs
from maskft.planning.schedule import CLUSTERS, best_schedule, paper_runs, place, simulate
from maskft.planning.show import show_plan

__all__ = [
    "CLUSTERS",
    "GPUS",
    "PER_DEVICE",
    "Setup",
    "best_schedule",
    "get_gpu",
    "paper_runs",
    "place",
    "plan",
    "planned_runs",
    "show_plan",
    "simulate",
]
