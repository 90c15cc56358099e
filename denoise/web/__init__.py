"""The page: one room for each kind of signal. Imported only when it is opened."""
