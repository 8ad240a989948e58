"""The language model: training by the trainer, evaluation, export and registration."""
