"""Grafana: dashboards (made by `build`, committed as JSON under dashboards/) and what provisions them."""
