"""The only training loop.

fit.py         READ FIRST: epochs, checkpoints, the kept epoch; step.py: one step of it
material.py    what a fit learns from; batches.py: which rows make up a step
feed.py        the inputs of the next step, in a thread; crops.py, augment.py
checkpoint.py  state of a fit on disk; parallel.py: several processes share a batch
"""
