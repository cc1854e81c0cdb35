"""The inside of the training worker: may import torch, peft and transformers."""
