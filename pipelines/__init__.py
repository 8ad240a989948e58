"""What runs, and when: thin Dagster definitions and the command line."""

import warnings

import dagster as dg

# What is used of Dagster beyond its stable interface is pinned by version; its notices would drown a run's own lines.
for _notice in (dg.BetaWarning, dg.PreviewWarning):
    warnings.filterwarnings("ignore", category=_notice)
