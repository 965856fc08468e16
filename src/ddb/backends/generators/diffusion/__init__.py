"""Latent diffusion (Stable Diffusion 1.5, 2 and XL): painting and textual inversion share one model, which neither
changes.

loading.py     folder (files.py) -> model.py, checked
generator.py   tasks -> counterfactuals: geometry.py (crop and paste back), prompts.py, sampling.py, flat.py (failures)
inversion.py   images -> a token: views.py (encoded images), tokens.py (files)
"""
