"""Files of decoded pixels, hashed and memory mapped.

pixel_store.py    squares at the input's size: pixel_file.py
picture_store.py  pictures that training crops are taken from: picture_file.py
input_file.py     counterfactuals at the input's size
hashed_file.py    files that are written whole and checked by their hash
"""
