"""Alias of train.py: published commands for debug jobs type this name."""

from train import arguments, main, parse_args

if __name__ == "__main__":
    arguments.run(main, parse_args())
