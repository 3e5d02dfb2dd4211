"""Endpoints for operators, and the data-plane REST API."""
