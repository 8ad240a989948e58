"""Trainings that are disturbed at random, and must end as if they had not been: ``python -m benchmarks.survival``."""
