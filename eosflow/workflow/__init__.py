"""What the Snakefile asks: the configuration, the plan, what is stale, costs, locks."""
