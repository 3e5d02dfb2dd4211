"""How nodes reach each other. One node alone uses the in-memory broker."""
