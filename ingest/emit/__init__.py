"""Emitters: for servers that send events themselves, straight into Kafka or to a collector over HTTP."""
