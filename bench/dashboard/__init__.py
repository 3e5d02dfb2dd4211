"""What open dashboards cost a busy service."""
