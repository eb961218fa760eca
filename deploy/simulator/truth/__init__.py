"""The numbers that must come of a list of events, worked out plainly. Pure.

This is the independent check of the stream and of the SQL: sets, dicts and `datetime`, one person after the other, nothing
shared with either. Slow where being obvious is worth more. It uses none of the pipeline's rules about time, facets, spans,
chains or identity, only the words of the catalogue.
"""

from deploy.simulator.truth.bounds import Bounds as Bounds
from deploy.simulator.truth.bounds import bounds as bounds
from deploy.simulator.truth.bounds import same_lateness as same_lateness
from deploy.simulator.truth.clock import local as local
from deploy.simulator.truth.facets import facets_of as facets_of
from deploy.simulator.truth.numbers import numbers as numbers
