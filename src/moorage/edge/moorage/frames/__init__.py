"""The frames of an app server, as commands and answers."""
