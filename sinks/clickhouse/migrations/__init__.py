"""Numbered migrations (NNNN_name.sql, never changed once released) and views.sql, which is applied again whenever it changes."""
