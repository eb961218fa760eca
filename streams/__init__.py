"""Streams: the Faust worker that turns frames into person records and partition totals. `streams.contract` is its face."""
