"""The demo: the whole product on one machine, from an empty folder to a report."""

from clients.demo.plan import DemoPlan
from clients.demo.run import DemoResult, run_demo

__all__ = ["DemoPlan", "DemoResult", "run_demo"]
