"""``python -m backmap``: the command line, and the location of backmap for CMake."""

import sys

if __name__ == "__main__":
    if sys.argv[1:] == ["--cmake-prefix"]:
        from backmap import _native

        print(_native.library_path().parent)
    else:
        from backmap.cli.main import command

        command()
