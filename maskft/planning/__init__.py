"""What a study costs, known before anything starts: tokens, operations, memory and hours.

Every formula stands in one small function with its derivation. ``shapes`` counts parameters and operations of a model,
``lengths`` the tokens of the data, ``work`` the operations of a run, ``memory`` the bytes on a GPU, ``time`` the hours on
``hardware``; ``plan`` adds up the runs of exhibits, and ``show`` prints.
"""

from maskft.planning.hardware import GPUS, get_gpu
from maskft.planning.plan import PER_DEVICE, Setup, plan, planned_runs
from maskft.planning.show import show_plan

__all__ = ["GPUS", "PER_DEVICE", "Setup", "get_gpu", "plan", "planned_runs", "show_plan"]
