"""Kafka as Footfall needs it: a broker of its own for one machine, and the topics, created and checked."""
