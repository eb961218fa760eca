"""Deploy: `footfall up`: everything on one machine, watched over, with live numbers."""
