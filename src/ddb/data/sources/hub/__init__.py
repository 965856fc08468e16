"""The layouts of Hugging Face `datasets`."""
