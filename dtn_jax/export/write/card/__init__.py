"""What a model is, on what it was measured, and its limits: card.md and card/."""
