"""How hard training images are, and which of them experts see when."""
