"""Latent diffusion (Stable Diffusion 1.5, 2 and XL): painting and textual inversion share one model, which neither
changes.

network/       the model, opened from a folder and checked
generator.py   tasks -> counterfactuals: geometry.py (crop and paste back), sampling.py, flat.py (failures)
learning/      images -> a token
prompts.py, text.py, tokens.py    prompts with learned tokens, which both use
"""
