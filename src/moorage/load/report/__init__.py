"""How people see a run: a line while it lasts, and then a table or a page."""
