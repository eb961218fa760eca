"""Rejected rows: what there is, why, how to mend it, and sent again."""
