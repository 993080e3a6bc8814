"""Figures: what was measured, beside what, against which goal; the table and results.json."""

import json
import operator
import statistics

_OPERATORS = {"<=": operator.le, ">=": operator.ge}


class Figure:
    """One line of the table. Samples of ours and of the reference were taken alternately, so they form pairs."""

    def __init__(self, section, name, unit, ours, reference=(), reference_name="", goal=None):
        """goal: (of, "<=" or ">=", number) where of is "ours" or "ratio" (ours / reference)."""
        self.section = section
        self.name = name
        self.unit = unit
        self.ours = list(ours)
        self.reference = list(reference)
        self.reference_name = reference_name
        self.goal = goal
        self.ratios = [a / b for a, b in zip(self.ours, self.reference) if b]

    def met(self):
        if self.goal is None:
            return None
        of, sign, limit = self.goal
        samples = self.ratios if of == "ratio" else self.ours
        return bool(samples) and _OPERATORS[sign](statistics.median(samples), limit)

    def goal_text(self):
        if self.goal is None:
            return ""
        of, sign, limit = self.goal
        return f"{sign} {limit:,g}{'x' if of == 'ratio' else ''}"

    def as_dict(self):
        def median(samples):
            return statistics.median(samples) if samples else None

        return {
            "section": self.section, "figure": self.name, "unit": self.unit,
            "ours": median(self.ours), "reference": median(self.reference), "reference_name": self.reference_name,
            "ratio": median(self.ratios), "goal": self.goal_text(), "met": self.met(),
            "ours_samples": self.ours, "reference_samples": self.reference, "ratio_samples": self.ratios,
        }


def _number(value):
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def _spread(samples):
    """min / median / max, or the only value."""
    if not samples:
        return ""
    if len(samples) == 1:
        return _number(samples[0])
    return " / ".join(_number(v) for v in (min(samples), statistics.median(samples), max(samples)))


def table(figures):
    """The figures as lines of text: a Markdown table."""
    head = ["section", "figure", "unit", "ours", "reference", "", "ours/reference", "goal", "met"]
    rows = [head]
    section = None
    for f in figures:
        rows.append([
            f.section if f.section != section else "", f.name, f.unit, _spread(f.ours), _spread(f.reference),
            f.reference_name, _spread(f.ratios), f.goal_text(), {None: "", True: "yes", False: "NO"}[f.met()],
        ])
        section = f.section
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def write_json(figures, path):
    with open(path, "w", encoding="utf-8") as file:
        json.dump([f.as_dict() for f in figures], file, indent=1)
        file.write("\n")
