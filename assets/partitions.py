"""A partition is a dump: one source as delivered once, named in the catalogue.

The catalogue file is the one list of dumps; there is no second one in Dagster's database that could differ from it.
A code location reads it when it loads.
"""

from __future__ import annotations

import dagster as dg

from assets.home import catalogue_path
from assets.raw_text.catalogue import load_catalogue

dumps = dg.StaticPartitionsDefinition([source.name for source in load_catalogue(catalogue_path()).sources])

# Backfills start one run a dump, so that a bad dump fails alone; a job may still name a range for one run.
one_run_a_dump = dg.BackfillPolicy.multi_run(max_partitions_per_run=1)
