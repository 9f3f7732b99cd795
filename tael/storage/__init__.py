"""The hot and cold tiers behind ports by signal and direction; composition of readers is a reader."""
