"""Commands that ask and act through the Admin API: `top`, `hubs`, `apps`, `rooms`, `connections`, `emit`."""
