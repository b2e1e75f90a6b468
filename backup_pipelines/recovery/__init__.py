"""What lies beside every backup, so that it can be restored without this package."""
