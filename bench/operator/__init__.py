"""What it costs to look: telemetry, traces and the dashboard beside a service that nobody watches."""
