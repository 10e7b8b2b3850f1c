"""Networks that judge masks: pure ``torch.nn``, one family a file."""
