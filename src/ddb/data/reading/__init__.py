"""What files hold, before their pixels are used.

files.py       every image file checked once; cache_folder.py: where caches lie outside of a run
encoded.py     orientation, and metadata that Pillow refuses
mask_image.py  values of a mask file to True and False
file_kinds.py  what a file of another kind is called
"""
