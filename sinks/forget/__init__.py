"""Forgetting a person: what it takes, in which order, and the proof that nothing is left."""
