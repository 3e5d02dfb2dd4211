"""The doors of operators and of the data-plane REST API."""
