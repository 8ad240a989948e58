"""Choosing settings of a training by its loss on the validation documents."""
