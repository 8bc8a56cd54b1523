"""What people would do without meta-learning, on the same features and episodes. One a file."""
