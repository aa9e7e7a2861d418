"""All settings of a run, the presets, and the command line that sets them."""
