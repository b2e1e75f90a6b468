"""Dagster's own web server with a log-in in front, and roles in what it lets people do."""
