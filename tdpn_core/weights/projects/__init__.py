"""One file a project: how its checkpoints are recognised and what it calls our entries."""

from __future__ import annotations

from tdpn_core.weights.project import Project
from tdpn_core.weights.projects.mmaction2 import MMACTION2
from tdpn_core.weights.projects.pytorchvideo import PYTORCHVIDEO
from tdpn_core.weights.projects.torchvision import TORCHVISION
from tdpn_core.weights.projects.tpn import TPN
from tdpn_core.weights.projects.tsm import TSM

PROJECTS: tuple[Project, ...] = (TORCHVISION, TPN, MMACTION2, PYTORCHVIDEO, TSM)
