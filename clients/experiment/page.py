"""The page of an experiment: what was found and how, in Markdown."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from clients.experiment.chart import learning_curves_png
from clients.experiment.comparison import BASELINES, Comparison, compare
from clients.experiment.folder import ExperimentFolder, write_atomically
from clients.experiment.plan import ExperimentPlan
from clients.experiment.strategies import STRATEGIES
from clients.experiment.tables import (
    area_table,
    curve_table,
    markdown,
    ratio_table,
    reach_table,
)

__all__ = ["STEM", "publish"]

STEM: Final = "label-efficiency"
"""Of the published files."""

_CAMUS: Final = (
    "CAMUS: S. Leclerc et al., Deep Learning for Segmentation Using an Open Large-Scale Dataset in "
    "2D Echocardiography, IEEE TMI 38(9):2198-2210, 2019, doi:10.1109/TMI.2019.2900516."
)


def publish(
    folder: ExperimentFolder,
    plan: ExperimentPlan,
    target: Path,
    *,
    data: str,
    notes: str = "",
) -> Comparison:
    """Write `label-efficiency.md`, `.json` and `.png` from the campaigns that have finished.

    Args:
        folder: Holds them.
        plan: Order of strategies, and settings.
        target: Folder for the files; created where it does not exist.
        data: What was labeled, for people.
        notes: Markdown that follows the tables, such as a discussion.

    Returns:
        What the files say; no page and no picture is written while no strategy has a campaign.
    """
    records = folder.runs()
    found = compare(records, plan.strategies)
    target.mkdir(parents=True, exist_ok=True)
    raw = {
        "settings": plan.settings(),
        "data": data,
        "comparison": found.jsonable(),
        "campaigns": records,
    }
    content = json.dumps(raw, indent=1, ensure_ascii=False) + "\n"
    write_atomically(target / f"{STEM}.json", content)
    if found.strategies:
        picture = learning_curves_png(found, title=f"Label efficiency on {data}")
        write_atomically(target / f"{STEM}.png", picture)
        page = render_page(found, plan, records, data=data, notes=notes)
        write_atomically(target / f"{STEM}.md", page)
    return found


def render_page(
    found: Comparison,
    plan: ExperimentPlan,
    records: Sequence[Mapping[str, Any]],
    *,
    data: str,
    notes: str,
) -> str:
    """Return the page."""
    parts = [
        f"# Label efficiency on {data}\n",
        _how(found, plan, records, data),
        f"![Learning curves]({STEM}.png)\n",
        "## Test IoU by labels\n",
        "Percent, mean over seeds ± sample standard deviation.\n",
        markdown(curve_table(found)),
        "The curve as one number: mean test IoU over the label axis, percent; the lead over "
        "Random is taken seed by seed.\n",
        markdown(area_table(found)),
    ]
    if found.full_iou is not None:
        parts += [
            "## Labels to reach the full-data IoU\n",
            f"All {found.full_labels} labels at once give a test IoU of "
            f"{found.full_iou * 100:.2f} % (seeds: {_seeds(found)}). Where a "
            "curve first reaches a share of that, interpolated between measurements: mean over "
            "seeds, and each seed. `>`: not reached within the budget, which then stands for it.\n",
            markdown(reach_table(found)),
        ]
        for baseline in BASELINES:
            table = ratio_table(found, baseline)
            if len(table) > 1:
                parts += [
                    f"As a multiple of what `{baseline}` needs, with a 90 % bootstrap interval "
                    "over seeds:\n",
                    markdown(table),
                ]
    parts += ["## Strategies\n", markdown(_strategies(found, records), right=False)]
    if notes:
        parts += [notes.strip() + "\n"]
    parts += [
        "## Again\n",
        f"    {_command(plan)}\n",
        f"Numbers and campaigns: [{STEM}.json]({STEM}.json).\n",
        _CAMUS + "\n" if "camus" in data.lower() else "",
    ]
    return "\n".join(part for part in parts if part)


def _how(
    found: Comparison, plan: ExperimentPlan, records: Sequence[Mapping[str, Any]], data: str
) -> str:
    counts = plan.label_counts()
    size = f" at {plan.image_size} x {plan.image_size}" if plan.image_size else ""
    differing = [each.name for each in found.strategies if not each.same_start]
    start = (
        f" All strategies of a seed start from the same labels, but for {', '.join(differing)}."
        if differing
        else " All strategies of a seed start from the same labels."
    )
    first = records[0]["config"] if records else {}
    mode = str(first.get("retrain_mode", "")).lower().replace("_", " ")
    verified = sum(all(check["verified"] for check in each["checks"]) for each in records)
    return (
        f"{found.campaigns} campaigns through the real stack (coordinator, trainer, uncertainty "
        f"service, Triton; a simulated reader answers every request): preset "
        f"`{plan.preset}`{size}, seeds {', '.join(map(str, plan.seeds))}, "
        f"{counts[0]} initial labels, then {plan.query_size} a phase "
        f"up to {counts[-1]}. Models start {mode} in every phase; scores come from "
        f"{first.get('n_passes')} stochastic passes.{start} "
        f"Test IoU is the mean over {found.test_frames} frames of other patients, measured through "
        f"Triton at the frames' own size. The batches of {verified} of {len(records)} campaigns "
        f"were derived again from the stored scores. Data: {data}.\n"
    )


def _seeds(found: Comparison) -> str:
    return ", ".join(f"{iou * 100:.2f}" for _, iou in sorted(found.full_by_seed.items()))


def _strategies(found: Comparison, records: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return what each name stood for, as the coordinator filled it in."""
    rows = [["strategy", "what it does", "acquisition", "query"]]
    for each in found.strategies:
        config = next(record["config"] for record in records if record["strategy"] == each.name)
        query = config.get("query", {})
        described = ", ".join(f"{key} {value}" for key, value in query.items())
        purpose = STRATEGIES[each.name].purpose if each.name in STRATEGIES else ""
        twins = {
            record["same_as"]
            for record in records
            if record["strategy"] == each.name and "same_as" in record
        }
        purpose += "".join(f" The campaigns of `{twin}`: same configuration." for twin in twins)
        rows.append([f"`{each.name}`", purpose, config["acquisition"], described or "topk"])
    return rows


def _command(plan: ExperimentPlan) -> str:
    options = [
        f"--strategies {','.join(plan.strategies)}",
        f"--seeds {','.join(map(str, plan.seeds))}",
        f"--initial {plan.initial_labels}",
        f"--query {plan.query_size}",
        f"--budget {plan.label_budget}",
        f"--preset {plan.preset}",
    ]
    if plan.image_size:
        options.append(f"--size {plan.image_size}")
    if plan.epochs:
        options.append(f"--epochs {plan.epochs}")
    if plan.n_passes:
        options.append(f"--passes {plan.n_passes}")
    return " ".join(["echoloop experiment label-efficiency --data FOLDER --out OUT", *options])
