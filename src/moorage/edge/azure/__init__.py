"""App servers that speak the azure link dialect."""
