"""Recovery of sessions whose node is another one, or is gone."""
