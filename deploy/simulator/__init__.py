"""Traffic with a known truth: seeded bank-like persons, what they do in the plan's apps, and the numbers that must come of it."""
