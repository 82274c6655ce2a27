"""A table of DynamoDB with a user for each item: how items are written, and how they are read."""
