"""What a user is told when Snakemake starts."""

from __future__ import annotations

from pathlib import Path

from eosflow.workflow.plan import Plan


def notes(plan: Plan) -> list[str]:
    """What a user should know before the work starts, in lines."""
    lines = list(plan.left_out)
    found: list[tuple[str, str, str, str]] = []
    for folder, run in plan.runs.items():
        if reason := plan.stale.run(folder):
            way_out = "It is trained anew when it is its turn; nothing is deleted"
            found.append((run.experiment, reason, way_out, folder))
        for measurement in plan.measured_of(folder).values():
            if reason := plan.stale.measured(folder, measurement):
                way_out = "It is measured anew when it is its turn"
                found.append((run.experiment, reason, way_out, folder))
    for product in plan.summaries.products.values():
        if Path(plan.results, product.record).exists():
            reason = plan.summaries.outdated(product)
            if reason and "is damaged" in reason:
                lines.append(f"{plan.results}/{reason}. It is made again when it is its turn.")
    groups: dict[tuple[str, str, str], list[str]] = {}
    for *about, folder in found:
        groups.setdefault((about[0], about[1], about[2]), []).append(folder)
    return lines + [
        f"{experiment}: {len(folders)} finished run{'s' if len(folders) > 1 else ''} "
        f"(such as {folders[0]}) cannot be used: {reason}. {way_out}."
        + (f" {plan.jobs.cost(folders)}" if any(map(plan.stale.run, folders)) else "")
        for (experiment, reason, way_out), folders in groups.items()
    ]
