"""The fields that come with the package, and their presets. Each is reached by its entry point."""
