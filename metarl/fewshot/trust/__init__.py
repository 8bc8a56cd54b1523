"""How far predictions can be trusted: calibration, what is out of scope, and which samples decided."""
