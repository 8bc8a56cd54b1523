"""The benchmark: a frozen protocol over task families, its scores, and the statistics that compare agents."""
