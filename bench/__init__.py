"""The yardstick: this project and its peers, measured side by side in one run. See README.md."""
