"""Deploy: puts the stages together on one machine or many: command line, local broker, simulator, verification."""
