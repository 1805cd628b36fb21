"""Holds these tests back until the export survey has recorded every decoder.

`python -m trainer.adapters.export_survey` records what they check, in the catalog's order; it goes
on where it stopped. Delete this file with the commit that completes `exports.json`.
"""

from importlib import resources

_EXPORTS = resources.files("trainer.domain.search").joinpath("exports.json").read_text()

collect_ignore_glob = [] if '"MAnet"' in _EXPORTS else ["test_*.py"]
