"""Holds these tests back until the survey has recorded the pairs; delete it with that commit.

`python -m trainer.adapters.architecture_survey` and `... .export_survey` record what they check.
"""

from importlib import resources

_RECORDED = resources.files("trainer.domain.search").joinpath("pairs.json").is_file()

collect_ignore_glob = [] if _RECORDED else ["test_*.py"]
