"""Prometheus and Alertmanager: alert rules, example configurations, and the history that the rules' baselines start with."""
