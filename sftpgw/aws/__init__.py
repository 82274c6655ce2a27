"""What every AWS service needs: credentials, signatures and endpoints."""
