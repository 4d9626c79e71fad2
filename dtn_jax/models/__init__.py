"""Models: experts, gates, towers, and the architectures that route experts to tasks."""
