"""One command of MoXing: python moxing_command.py exists|fetch|put|remove URL or FILE [TARGET]."""

import sys
from pathlib import Path


def main(command, source, target=None):
    """Runs it, and lets whatever MoXing raises end the process."""
    import moxing

    if command == "exists":
        print(moxing.file.exists(source))
    elif command == "remove":
        if moxing.file.exists(source):
            moxing.file.remove(source)
    elif command == "put":
        moxing.file.copy(source, target)
    elif moxing.file.is_directory(source):
        moxing.file.copy_parallel(source, target)
    else:
        moxing.file.copy(source, str(Path(target) / source.rsplit("/", 1)[-1]))


if __name__ == "__main__":
    main(*sys.argv[1:])
