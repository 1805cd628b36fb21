"""Drives campaigns through their phases: the supervisor, the steps, and what they wait with."""

from services.coordinator.driver.campaign_driver import STEPS, drive
from services.coordinator.driver.context import DriverContext
from services.coordinator.driver.notifier import DRIVERS, SERVING, ChangeNotifier, readers_of
from services.coordinator.driver.outlooks import Outlooks
from services.coordinator.driver.progress import ProgressBoard, StepProgress
from services.coordinator.driver.retention import Retention
from services.coordinator.driver.supervisor import DriverSupervisor
from services.platform.backoff import Backoff

__all__ = [
    "DRIVERS",
    "SERVING",
    "STEPS",
    "Backoff",
    "ChangeNotifier",
    "DriverContext",
    "DriverSupervisor",
    "Outlooks",
    "ProgressBoard",
    "Retention",
    "StepProgress",
    "drive",
    "readers_of",
]
