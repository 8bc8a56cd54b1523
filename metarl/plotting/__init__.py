"""Every figure and film."""
