"""Settings: every one of them, the presets, and the command line that sets them."""
