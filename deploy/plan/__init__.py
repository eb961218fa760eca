"""The tracking plan: lints, what changed since a version before, and a proposal made of traffic."""
