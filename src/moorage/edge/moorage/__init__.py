"""App servers that speak the moorage link dialect, `moorage.v1`."""
