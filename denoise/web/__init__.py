"""The page: one room for each kind of signal. Imported only when it is opened."""

import os

# A library that gradio brings would otherwise ask for a list of agents at another machine.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
