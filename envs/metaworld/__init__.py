"""Meta-World (Yu et al. 2019; McLean et al. 2025): its environments, goals and evaluation, through its own package."""
