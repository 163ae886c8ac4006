"""Networks: 3D-aware convolution, U-Net, portrait encoder."""
