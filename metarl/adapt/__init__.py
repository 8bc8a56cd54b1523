"""The mechanisms of adaptation: by gradient, by memory, by inference."""
