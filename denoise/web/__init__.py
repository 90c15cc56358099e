"""The page: one room for each kind of signal. Imported only when it is opened."""

import os
from contextlib import suppress

from denoise.web.quick import quickly

# A library that gradio brings would otherwise ask for a list of agents at another machine.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# It asks matplotlib before each event where it would draw, and without an answer all of pyplot is imported to find out.
os.environ.setdefault("MPLBACKEND", "agg")

with quickly(), suppress(ModuleNotFoundError):  # whoever needs it says that it is missing
    import gradio  # noqa: F401
