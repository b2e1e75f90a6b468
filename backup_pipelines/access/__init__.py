"""Who somebody is, which role that gives in a system, and what the role may do."""
