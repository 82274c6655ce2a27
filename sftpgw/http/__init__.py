"""HTTP/1.1 for large bodies, on Twisted's connection pool: TLS, proxies and certificates."""
