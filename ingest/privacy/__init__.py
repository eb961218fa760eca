"""What is done to events so that no more is kept of users than the settings say: before Kafka, and before anything is logged."""
