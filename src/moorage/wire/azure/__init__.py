"""Formats of the azure dialect and of the data-plane REST API."""
