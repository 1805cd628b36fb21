"""The report of a campaign: one HTML file with everything in it, for the screen and for print."""

from clients.report.collect import collect_report
from clients.report.content import ReportContent
from clients.report.render import render_report

__all__ = ["ReportContent", "collect_report", "render_report"]
