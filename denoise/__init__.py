"""Takes the noise out of speech, photographs and camera raw files, and says what it did."""

__version__ = "0.1.0"
