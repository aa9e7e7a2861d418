"""Alias of train.py: published commands for debug jobs type this name."""

from train import arguments, cloud, main, parse_args

if __name__ == "__main__":
    arguments.run(cloud.as_job(main), parse_args())
