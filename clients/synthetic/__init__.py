"""Synthetic apical echocardiograms in the folder form of CAMUS: EchoLoop without real data."""

from clients.synthetic.study import StudySize, write_study

__all__ = ["StudySize", "write_study"]
