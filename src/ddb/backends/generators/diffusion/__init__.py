"""Latent diffusion (Stable Diffusion 1.5, 2 and XL): painting and textual inversion with one open model.

loading.py     folder -> model.py, checked
generator.py   tasks -> counterfactuals: geometry.py (crop and paste back), prompts.py, sampling.py
inversion.py   images -> a token: views.py (encoded images), tokens.py (files)
"""
