"""The web page: `python app.py`, or `denoise app`."""

from denoise.web.app import main

if __name__ == "__main__":
    main()
