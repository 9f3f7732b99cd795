"""The processes of the suite; each package is one service, wired in services/wiring.py."""
