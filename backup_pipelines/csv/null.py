"""What stands for NULL in a CSV file; alone here, since the launchpad's help needs nothing else."""

NULL = r"\N"
"""Without quotes; a value that reads the same is in quotes."""
