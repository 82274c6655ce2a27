"""Session policies: what the credentials of one user's sessions may do, and how they are obtained.

https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies.html#policies_session
"""
