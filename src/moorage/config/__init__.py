"""Settings: their definitions, their sources, and the checks on their values."""
