"""What a person calls: training, preparing data, looking at it, sweeps and reports."""
