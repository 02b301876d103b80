"""From the records of runs to tables, figures, verdicts and the report. Knows no torch."""
