"""The Python side of the Snakefile: the configuration, the plan, outdated results, costs, locks."""
