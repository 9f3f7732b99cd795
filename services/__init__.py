"""The processes of the suite; each room is one service, wired in services/wiring.py."""
