"""Are the numbers right? The stream's totals against SQL over the raw events, and against what a simulator says it sent."""
