"""From a user's mounts to the IAM policy of the user's sessions. Pure."""
