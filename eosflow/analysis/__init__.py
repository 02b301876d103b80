"""What results and studies share: the style of figures and the verdicts on claims. No torch."""

# Iterations at the start of a run that no analysis looks at. Where an optimizer has another number,
# the frame says so in its column `transient`.
TRANSIENT = 10
