"""Deploy: what `footfall status` tells."""
