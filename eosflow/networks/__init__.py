"""Networks: their settings, their parameters, what a pass through them costs."""
