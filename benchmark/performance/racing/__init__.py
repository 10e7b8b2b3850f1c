"""The race of ``unet`` with nnU-Net: who needs less training until the test Dice passes a mark."""
