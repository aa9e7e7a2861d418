"""Alias of train.py: published commands for debug jobs use this name."""

from train import cli, cloud, main, parse_args

if __name__ == "__main__":
    cli.run(cloud.with_cloud_job(main), parse_args)
