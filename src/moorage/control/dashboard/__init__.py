"""The operators' page at `/dashboard`: files that a browser runs as they are."""
