"""Tests of the log-in and of the roles behind it."""
