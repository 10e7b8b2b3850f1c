"""A folder for nnU-Net to look for trainers in; it imports every module that lies here."""
