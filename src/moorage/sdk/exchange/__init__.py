"""Exchange between app code and the service: emits, room changes, answers. No task, no thread."""
