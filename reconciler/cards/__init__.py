"""What people are told: one Adaptive Card each, and who gets which. Start with `telling`. Pure."""
