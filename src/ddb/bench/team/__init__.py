"""Several parts of a bench at once, each in its own process, on this machine or on a Ray cluster.

The processes share only the bench folder: a part writes its records there, and other parts read them.
"""
