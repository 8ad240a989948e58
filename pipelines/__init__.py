"""What runs, and when: thin Dagster definitions and the command line."""
