"""`denoise`, and the same as `python -m denoise`."""

import sys


def main() -> None:
    """It can be stopped from its first moment on: the command itself takes a while to load."""
    try:
        from denoise.cli import main as command

        command()
    except KeyboardInterrupt:
        print("Cancelled.", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
