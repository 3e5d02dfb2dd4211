"""The OData filters of app servers and REST callers."""
