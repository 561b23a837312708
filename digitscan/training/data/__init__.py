"""What a network learns from: data sets, and pictures made from them."""
