"""The gateway's own objects in the store, and the sweeper that deletes what a crash left."""
