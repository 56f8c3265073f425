"""What runs kseflow elsewhere than in a shell: files for systemd and cron, and the filling in."""
