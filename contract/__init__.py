"""What the rooms agree on: words, row schemas and the user-facing error.

Every other package may import this one; it imports none of them and no torch.
"""
