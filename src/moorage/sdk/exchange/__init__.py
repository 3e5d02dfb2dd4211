"""What app code and the service ask of each other: emits, room changes, answers. No task, no thread."""
