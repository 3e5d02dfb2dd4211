"""Commands that say what is wrong and how to put it right: `moorage doctor` and `moorage token check`."""
