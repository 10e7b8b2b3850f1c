"""Networks that turn an image into class logits: pure ``torch.nn``, one family a file."""
